"""The real parts of the demo, each by itself: a small language model that counts its calls, and an Airflow that leaves nothing behind."""

import json
import os
import sys

import psutil
import pytest

from demo import DemoError, ProcessSession, fetch_json
from demo.airflow_home import AirflowHome, DagImportError, DagRunFailedError, dag_test
from demo.model_server import Counts, serve_model

pytestmark = pytest.mark.real

DOUBLING = """
from airflow.sdk import DAG, Param, get_current_context, task

with DAG("doubling", schedule="* * * * *", params={"count": Param(3, type="integer")}):
    numbers = task(lambda: list(range(get_current_context()["params"]["count"])), task_id="numbers")
    double = task(lambda number: 2 * number, task_id="double")
    double.expand(number=numbers())
"""

FAILING = """
from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowFailException

with DAG("failing", schedule=None, default_args={"retries": 2}):
    @task
    def explode():
        print("reading tickets")
        raise AirflowFailException("tickets.jsonl is missing")

    explode()
"""

WAITING = """
import subprocess
from airflow.sdk import DAG, task

with DAG("waiting", schedule=None):
    @task
    def wait():
        subprocess.run(["sleep", "1000"])

    wait()
"""


def question(text: str, **settings) -> dict:
    return {"messages": [{"role": "user", "content": text}], "temperature": 0, "max_tokens": 40, **settings}


def is_living(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def states(run) -> list[tuple[str, int, str | None]]:
    return sorted((task.task_id, task.map_index, task.state) for task in run.tasks)


def test_the_model_answers_in_the_asked_schema_and_counts_for_itself(tmp_path):
    schema = {
        "type": "object",
        "properties": {"urgency": {"enum": ["low", "high"]}, "refund": {"type": "boolean"}},
        "required": ["urgency", "refund"],
        "additionalProperties": False,
    }
    structured = {"type": "json_schema", "json_schema": {"name": "ticket", "strict": True, "schema": schema}}
    with serve_model(tmp_path) as model:
        address = f"{model.url}/v1/chat/completions"
        body = question("I was charged twice, give me my money back!", response_format=structured)
        answers = [fetch_json(address, "POST", sent) for sent in (body, dict(reversed(body.items())), question("Hello", max_tokens=3))]

        document = json.loads(answers[0]["choices"][0]["message"]["content"])
        assert document.keys() == {"urgency", "refund"}
        assert document["urgency"] in {"low", "high"}
        assert answers[2]["choices"][0]["finish_reason"] == "length"
        read, written = (sum(answer["usage"][kind] for answer in answers) for kind in ("prompt_tokens", "completion_tokens"))
        assert model.counts() == Counts(requests=3, distinct=2, prompt_tokens=read, completion_tokens=written)
        model.reset()
        assert model.counts() == Counts()
    with pytest.raises(OSError, match="refused"):
        model.counts()


def test_a_session_ends_with_all_its_processes_whatever_group_they_are_in(tmp_path):
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(1000)"
    parent = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {stubborn!r}], process_group=0); time.sleep(1000)"
    members: list[int] = []

    def interrupt_a_session():
        with ProcessSession([sys.executable, "-c", parent], log=tmp_path / "log", grace_s=0.5) as session:
            session.wait_for(lambda: "deaf" in session.log.read_text() or None, "the child", 30)
            members.extend(session.members())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt_a_session()
    assert len(members) == 2
    assert not any(is_living(pid) for pid in members)


def test_a_command_that_ends_too_early_is_shown_with_its_last_words(tmp_path):
    session = ProcessSession([sys.executable, "-c", "raise SystemExit('no weights')"], log=tmp_path / "log")
    with session, pytest.raises(DemoError, match=r"(?s)the model: the process ended with status 1.*no weights"):
        session.wait_for(lambda: None, "the model", 30)


def test_airflow_runs_dags_reports_failures_and_leaves_no_process_behind(tmp_path):
    dags = tmp_path / "dags"
    dags.mkdir()
    for name, text in {
        "doubling": DOUBLING,
        "failing": FAILING,
        "waiting": WAITING,
        "broken": "from airflow.sdk import DAG\nDAGS\n",
    }.items():
        (dags / f"{name}.py").write_text(text)
    members: list[int] = []

    def interrupt_a_running_task(progress: str) -> None:
        if progress == "waiting running: wait running":
            members.extend(airflow.wait_for(lambda: members_with_sleeper(airflow), "the process of the task", 30))
            raise KeyboardInterrupt

    with AirflowHome(tmp_path / "home", dags, on_progress=interrupt_a_running_task) as airflow:
        first = airflow.run("doubling")
        second = airflow.run("doubling", {"count": 5})
        assert states(first) == [*(("double", index, "success") for index in range(3)), ("numbers", -1, "success")]
        assert states(second) == [*(("double", index, "success") for index in range(5)), ("numbers", -1, "success")]
        runs = fetch_json(f"{airflow.url}/api/v2/dags/doubling/dagRuns", token=airflow._token)["dag_runs"]
        assert [run["dag_run_id"] for run in runs] == [first.run_id, second.run_id]  # and none of its schedule

        with pytest.raises(DemoError, match="'many' is not of type 'integer'"):
            airflow.run("doubling", {"count": "many"})
        with pytest.raises(DagImportError, match=r"broken\.py: (?s:.*)NameError"):
            airflow.run("absent")
        with pytest.raises(DagRunFailedError, match=r"AirflowFailException: tickets\.jsonl is missing") as failure:
            airflow.run("failing")
        assert "reading tickets" in str(failure.value)
        assert [(task.state, task.try_number) for task in failure.value.run.tasks] == [("failed", 1)]
        with pytest.raises(KeyboardInterrupt):
            airflow.run("waiting")

    assert len(members) > 10
    assert not any(is_living(pid) for pid in members)


def members_with_sleeper(airflow: AirflowHome) -> list[int] | None:
    """The members of the session, once the running task has a process of its own, which is in a group of its own."""
    members = airflow.members()
    sleepers = [pid for pid in members if psutil.Process(pid).name() == "sleep"]
    return members if sleepers and os.getpgid(sleepers[0]) != os.getsid(sleepers[0]) else None


def test_an_airflow_interrupted_while_it_starts_leaves_no_process_behind(tmp_path):
    members: list[int] = []

    def interrupt(progress: str) -> None:
        if progress != "starting":  # its parts are there, but not all of them are healthy
            members.extend(airflow.members())
            raise KeyboardInterrupt

    airflow = AirflowHome(tmp_path / "home", tmp_path, on_progress=interrupt)
    with pytest.raises(KeyboardInterrupt), airflow:
        pytest.fail("it did not start")
    assert len(members) > 1
    assert not any(is_living(pid) for pid in members)


def test_a_dag_runs_in_one_process_without_a_scheduler(dag_file, tmp_path):
    run = dag_test(tmp_path / "home", dag_file(DOUBLING), "doubling", {"count": 2})
    assert states(run) == [("double", 0, "success"), ("double", 1, "success"), ("numbers", -1, "success")]


def test_a_dag_that_fails_in_one_process_is_shown_with_what_it_wrote(dag_file, tmp_path):
    with pytest.raises(DagRunFailedError, match=r"tickets\.jsonl is missing"):
        dag_test(tmp_path / "home", dag_file(FAILING), "failing")
    with pytest.raises(DemoError, match="has no DAG other"):
        dag_test(tmp_path / "home", dag_file(FAILING), "other")


@pytest.fixture
def dag_file(tmp_path):
    """Writes a DAG file into a folder of its own."""

    def write(text: str):
        path = tmp_path / "dags" / "dag.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


@pytest.fixture(autouse=True)
def settings_of_another_airflow(monkeypatch):
    """What is set on this machine for another Airflow, or for the way out of it, is not for this one."""
    monkeypatch.setenv("AIRFLOW__CORE__UNIT_TEST_MODE", "True")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
