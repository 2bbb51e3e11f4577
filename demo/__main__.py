"""`make demo`: the starter, compiled for three platforms and run twice by a real Airflow with a real model.

It knows the order of the parts and what to say about them; the parts themselves are in the other modules. A demo that did not come to
its end goes on where it was when it is started again: what it has paid for is kept. One that did starts afresh.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

from demo import DemoError
from demo.again import alone_in, same_port
from demo.airflow_home import AirflowHome
from demo.model_server import Counts, ModelServer, serve_model
from xcs_airflow.canonical import load_json
from xcs_airflow.cli.run_summary import print_summary
from xcs_airflow.manifest import Manifest
from xcs_airflow.plan.cloud_graph import Totals
from xcs_airflow.runtime import read_output
from xcs_airflow.runtime.settings import RuntimeSettings
from xcs_airflow.runtime.usage import run_usage

ROOT = Path(__file__).resolve().parent.parent
STARTER = "templates/starters/triage/pipeline.py:triage"
BUILD = ROOT / "build" / "demo"
TARGETS = ("airflow", "aws-batch", "cloud-run")
REPORT_LINES = 14


def main() -> int:
    """Run the demo; 0 when the second run made no call."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends it, its processes end with it
    try:
        with alone_in(BUILD) as goes_on:
            if goes_on:
                _say(f"the last demo did not come to its end: its results and answers are kept (without them: rm -r {BUILD})")
            _show()
    except DemoError as error:
        print(f"\nthe demo failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; nothing is left running", file=sys.stderr)
        return 130
    return 0


def _show() -> None:
    _title("1. What it will do and cost, before anything runs")
    _run("xcs", "plan", STARTER)
    _title("2. The same plan as files for three platforms")
    _run("xcs-export", STARTER, *(word for target in TARGETS for word in ("--target", target)), "-o", str(BUILD / "bundles"))
    _title("3. A real Airflow runs the exported DAG with a real model")
    with serve_model(BUILD, port=same_port(BUILD)) as model:
        _say("SmolLM2-135M answers on loopback in place of the model the pipeline names, and counts its calls itself")
        settings = _settings(model)
        variables = {
            "XCS_STORE": settings.store,
            "XCS_CACHE": settings.cache_address,
            "XCS_MODELS": json.dumps({name: route.model_dump(exclude_defaults=True) for name, route in settings.models.items()}),
        }
        dags = BUILD / "bundles" / "airflow"
        with AirflowHome(BUILD / "airflow", dags, variables, on_progress=_say) as airflow:
            first, report = _one_run(airflow, model, settings)
            model.reset()
            _title("4. The same run again")
            second, same_report = _one_run(airflow, model, settings)
    _title("5. What came out")
    print("\n".join(report.splitlines()[:REPORT_LINES]))
    _conclude(first, second, is_same=report == same_report)


def _settings(model: ModelServer) -> RuntimeSettings:
    """The operator's word on where calls go: the model's name of the pipeline is answered on loopback and not billed."""
    return RuntimeSettings.from_environment(
        {},
        store=str(BUILD / "store"),
        models={"openai": {"endpoint": f"{model.url}/v1", "model": "smollm2-135m-instruct", "billing": "none", "max_in_flight": 8}},
    )


def _one_run(airflow: AirflowHome, model: ModelServer, settings: RuntimeSettings) -> tuple[Counts, str]:
    bundle = BUILD / "bundles" / "airflow" / "triage"
    manifest, expected = _documents(bundle)
    started = time.monotonic()
    with _watching(model, expected.calls):
        run = airflow.run("triage")
    used = run_usage(settings, "triage", run.run_id)
    print(print_summary(expected, used.total, time.monotonic() - started))
    counts = model.counts()
    _say(f"the server itself counted {counts.requests:,} calls, {counts.distinct:,} of them different")
    if counts.requests != counts.distinct:
        raise DemoError("a prompt was sent twice")
    return counts, str(read_output(manifest, run_id=run.run_id, settings=settings))


@contextmanager
def _watching(model: ModelServer, expected: int) -> Iterator[None]:
    """Show a person how many calls were made so far; nobody else."""
    ended = Event()

    def tell() -> None:
        while not ended.wait(2):
            print(f"\r  {model.counts().requests:,} of about {expected:,} calls made", end="\r", flush=True)

    watcher = Thread(target=tell, daemon=True)
    if sys.stdout.isatty():
        watcher.start()
    try:
        yield
    finally:
        ended.set()


def _documents(bundle: Path) -> tuple[Manifest, Totals]:
    """What the export wrote down: the tasks as they ran, and what they were expected to use."""
    manifest = Manifest.model_validate(load_json((bundle / "manifest.json").read_text(encoding="utf-8")))
    plan = load_json((bundle / "plan.json").read_text(encoding="utf-8"))
    return manifest, Totals.model_validate(plan["totals"])


def _conclude(first: Counts, second: Counts, *, is_same: bool) -> None:
    print()
    print(f"bundles  {BUILD / 'bundles'}")
    print(f"results  {BUILD / 'store'} (and the ledger of every run)")
    print(f"answers  {BUILD / 'cache.sqlite'}")
    print(f"Airflow  {BUILD / 'airflow'} (database and logs; it has ended)")
    print()
    print(f"run 1: {first.requests:,} model calls, every one for a different prompt")
    print(f"run 2: {second.requests:,} model calls" + (", the same report" if is_same else ""))
    if second.requests or not is_same:
        raise DemoError("the second run should have made no call and the same report")


def _run(*command: str) -> None:
    print(f"$ {' '.join(command)}".replace(f"{ROOT}/", ""), flush=True)
    done = subprocess.run([Path(sys.executable).with_name(command[0]), *command[1:]], cwd=ROOT, check=False)
    if done.returncode != 0:
        raise DemoError(f"{command[0]} ended with status {done.returncode}")


def _title(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


def _say(text: str) -> None:
    print(f"  {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
