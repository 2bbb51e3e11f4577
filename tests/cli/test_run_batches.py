"""`xcs run` of calls that go through a provider's batch API: it waits here, and may be left and taken up again."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from importlib import import_module

import pytest

from ..runtime.batches.server import serving  # noqa: TID252  # the provider of the runtime's own tests

PIPELINE = """
from xcs_airflow import llm, op, pipeline


@op(items=3)
def load() -> list[str]:
    return ["a", "b", "a"]


first = llm("openai/gpt-4.1-mini", "First {x}", max_tokens=8, temperature=0, mechanism="provider_batch")
second = llm("anthropic/claude-haiku-4-5", "Second {x}", max_tokens=8, temperature=0, mechanism="provider_batch")


@op
def report(first: list[str], second: list[str]) -> str:
    return ", ".join([*first, *second])


@pipeline
def slowly():
    items = load()
    return report(first.map(x=items), second.map(x=items))
"""
VALUE = "FIRST A, FIRST B, FIRST A, SECOND A, SECOND B, SECOND A\n"
ONCE = Counter(["First a", "First b", "Second a", "Second b"])


@pytest.fixture
def provider(project, monkeypatch):
    (project / "slowly.py").write_text(PIPELINE)
    monkeypatch.setattr(import_module("xcs_airflow.jit.executor"), "_FIRST_PAUSE_S", 0.01)
    with serving() as server:
        monkeypatch.setenv("XCS_MODELS", json.dumps(server.models(timeout_s=20)))
        yield server


def test_it_submits_waits_and_collects_and_says_what_that_saved(run_xcs, provider):
    provider.looks = 3
    result = run_xcs("run", "slowly.py", "--run-id", "one")
    assert (result.exit_code, result.stdout) == (0, VALUE)
    assert provider.billed == ONCE
    assert (provider.asked["create"], provider.asked["status"]) == (2, 6)
    rows = [line.split() for line in result.stderr.splitlines()]
    (estimated,), (used,) = ([row for row in rows if row[:1] == [name]] for name in ("estimated", "used"))
    assert estimated[1] == "6"
    assert used[1:4] == ["4", "40", "8"]
    assert "unknown" not in result.stderr
    assert "of it by batch prices" in result.stderr


def test_the_next_run_submits_nothing(run_xcs, provider):
    run_xcs("run", "slowly.py")
    result = run_xcs("run", "slowly.py", "--format", "json")
    assert provider.asked["create"] == 2
    total = json.loads(result.stdout)["total"]
    assert (total["rows"], total["hits"], total["calls"]) == (6, 6, 0)


def test_the_plan_prices_batches(run_xcs, provider):
    plan = json.loads(run_xcs("plan", "slowly.py", "--format", "json").stdout)
    tasks = {task["id"]: task for task in plan["tasks"]}
    assert {"first.submit", "first.poll", "first", "second.submit", "second.poll", "second"} < set(tasks)
    assert plan["totals"]["cost_usd"].get("unknown", []) == []
    assert float(plan["totals"]["cost_usd"]["expected"]) > 0


def test_ctrl_c_leaves_the_batches_alone_and_the_same_run_takes_them_up(project, provider, run_xcs):
    provider.looks = 10**9
    command = [sys.executable, "-c", "from xcs_airflow.cli.main import main; main()", "run", "slowly.py", "--run-id", "one"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 60
        while provider.asked["status"] < 2 and process.poll() is None:
            assert time.monotonic() < until
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (130, "")
    assert "--run-id one goes on with it" in errors
    assert "Traceback" not in errors
    provider.looks = 1
    result = run_xcs("run", "slowly.py", "--run-id", "one")
    assert (result.exit_code, result.stdout) == (0, VALUE)
    assert provider.asked["create"] == 2
    assert provider.asked["cancel"] == 0
    assert provider.billed == ONCE
