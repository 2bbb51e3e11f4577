"""The demo, killed and started again: its pipeline at every point, and what it finds of itself the next time."""

import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from demo import DemoError
from demo.again import alone_in, same_port
from demo.model_server import serve_model
from xcs_airflow.authoring.load import load_pipeline
from xcs_airflow.passes import LLMGraphEnhancer
from xcs_airflow.plan.lower import lower
from xcs_airflow.runtime import RuntimeSettings, read_output, run_task

from .mortal_worker import DONE, KILLED, POINTS

pytestmark = pytest.mark.real

STARTER = Path(__file__).parents[2] / "templates" / "starters" / "triage"


@pytest.mark.parametrize("nth", [1, 2])
def test_the_pipeline_of_the_demo_killed_at_every_point_makes_the_same_report_and_pays_once(run_of, record_property, nth):
    graph = LLMGraphEnhancer().enhance(load_pipeline(f"{STARTER / 'pipeline.py'}:triage").graph())
    in_flight = max(task.in_flight for task in lower(graph).tasks)
    unkilled = run_of(graph, in_flight, code=STARTER)
    assert unkilled.go_on() == [DONE]
    unkilled.check(unkilled.results())
    killed = run_of(graph, in_flight, code=STARTER)
    died_at = [point for point in POINTS if killed.go_on({"point": point, "nth": nth}) == [KILLED]]
    assert killed.go_on() == [DONE]
    killed.check(unkilled.results())
    assert len(died_at) >= 12
    record_property("kills", killed.kills)


def test_a_demo_that_goes_on_finds_the_answers_of_its_model_again(tmp_path):
    """The model is another process then, at the same address."""
    manifest = lower(LLMGraphEnhancer().enhance(load_pipeline(f"{STARTER / 'pipeline.py'}:triage").graph()))
    inbox = tmp_path / "inbox.jsonl"
    inbox.write_text("".join((STARTER / "tickets.jsonl").read_text().splitlines(keepends=True)[:2]))
    requests, reports = [], []
    for run in ("killed", "again"):
        with serve_model(tmp_path, port=same_port(tmp_path)) as model:
            route = {"endpoint": f"{model.url}/v1", "model": "smollm2-135m-instruct", "billing": "none", "max_in_flight": 8}
            settings = RuntimeSettings(store=tmp_path / "store", code=STARTER, models={"openai": route})
            for task in manifest.tasks:
                run_task(manifest, task.id, run_id=run, parameters={"path": str(inbox)}, settings=settings)
            requests.append(model.counts().requests)
        reports.append(read_output(manifest, run_id=run, settings=settings))
    assert requests == [6, 0]
    assert reports[0] == reports[1]


KILLED_DEMO = """
import os, signal, subprocess, sys, time
from pathlib import Path
from demo import ProcessSession
from demo.again import alone_in, same_port

folder = Path(sys.argv[1])
titled = "import setproctitle, time; setproctitle.setproctitle('another title'); print('there', flush=True); time.sleep(1000)"
leader = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {titled!r}], process_group=0); time.sleep(1000)"
with alone_in(folder):
    (folder / "store").mkdir()
    (folder / "store" / "paid.json").write_text("1")
    (folder / "cache.sqlite").write_text("answers")
    (folder / "airflow").mkdir()
    print(same_port(folder))
    with ProcessSession([sys.executable, "-c", leader], log=folder / "log") as session:
        session.wait_for(lambda: "there" in session.log.read_text() or None, "the child", 60)
        print(*session.members(), flush=True)
        time.sleep(1000)
"""


def is_living(pid):
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def test_a_killed_demo_goes_on_with_what_it_paid_for_and_without_its_processes(tmp_path):
    folder = tmp_path / "demo"
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", KILLED_DEMO, folder], stdout=subprocess.PIPE, text=True, cwd=root) as first:
        port = int(first.stdout.readline())
        members = [int(pid) for pid in first.stdout.readline().split()]
        with pytest.raises(DemoError, match="another demo runs in"), alone_in(folder):
            pass
        assert all(map(is_living, members))
        first.send_signal(signal.SIGKILL)
    assert len(members) == 2
    with alone_in(folder) as goes_on:
        assert goes_on
        assert not any(map(is_living, members))
        assert {path.name for path in folder.rglob("*")} == {"store", "paid.json", "cache.sqlite", "model.port"}
        assert same_port(folder) == port  # answers are remembered by the address they came from
    with alone_in(folder) as goes_on:
        assert not goes_on
        assert list(folder.iterdir()) == []


@pytest.mark.parametrize("error", [DemoError("the model is gone"), KeyboardInterrupt()])
def test_a_demo_that_was_stopped_or_failed_goes_on_as_well(tmp_path, error):
    folder = tmp_path / "demo"

    def stop():
        with alone_in(folder):
            (folder / "store").mkdir()
            raise error

    with pytest.raises(type(error)):
        stop()
    with alone_in(folder) as goes_on:
        assert goes_on


@pytest.fixture(autouse=True)
def no_mark_of_these_tests(monkeypatch):
    monkeypatch.setenv("XCS_DEMO_FOLDER", "")
