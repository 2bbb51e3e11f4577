"""A real Airflow in a folder of its own: started, asked to run DAGs over its REST API, and always ended.

It knows Airflow's settings and REST API; it does not know what the DAGs do. As a program it runs one DAG without a scheduler.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from demo import HOST, DemoError, ProcessSession, fetch_json, free_port, write_whole

_PAGE = 100
_POLL_S = 0.25
_LOG_LINES = 60
_PATIENCE_S = 180

_Json = Mapping[str, Any]

# What differs from Airflow's defaults, and why.
_SETTINGS = {
    "API_HOST": HOST,
    "CORE_HOSTNAME_CALLABLE": "socket.gethostname",  # the default asks the network for a name
    "CORE__LOAD_EXAMPLES": "False",
    "CORE__PARALLELISM": "4",
    "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",  # no login, on loopback
    "DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": "1",
    "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "2",
    "DAG_PROCESSOR__REFRESH_INTERVAL": "2",  # a new file is seen after seconds, not after minutes
    "LOGGING__TRIGGER_LOG_SERVER_PORT": "0",  # any free one; logs of tasks on this machine are read as files
    "LOGGING__WORKER_LOG_SERVER_PORT": "0",
    "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",  # halves the time between a task and the next
    "SCHEDULER__USE_JOB_SCHEDULE": "False",  # only runs that are asked for, whatever schedule a DAG has
}


@dataclass(frozen=True, slots=True)
class TaskRun:
    """What became of one task instance: its state in Airflow's words (None: not yet scheduled) and the seconds of its last try."""

    task_id: str
    map_index: int
    state: str | None
    try_number: int
    duration_s: float | None


@dataclass(frozen=True, slots=True)
class DagRun:
    """A run, its state in Airflow's words, and its task instances in the order they started."""

    dag_id: str
    run_id: str
    state: str
    tasks: tuple[TaskRun, ...]

    def __str__(self) -> str:
        states = Counter((task.task_id, task.state or "waiting") for task in self.tasks)
        return ", ".join(f"{task_id} {state}" + (f" ×{count}" if count > 1 else "") for (task_id, state), count in states.items())


class DagImportError(DemoError):
    """Airflow cannot import a DAG file; the message has its traceback."""


class DagRunFailedError(DemoError):
    """A run failed; the message has the log of the task that did."""

    def __init__(self, run: DagRun, log: str) -> None:
        super().__init__(f"{run.dag_id} {run.run_id} {run.state}: {run}\n{log}")
        self.run = run


def airflow_environment(home: Path, dags_folder: Path, env: Mapping[str, str]) -> dict[str, str]:
    """Variables of an Airflow that shares nothing with another one on this machine; the given ones go before ours."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
    inherited.pop("PYTHONDONTWRITEBYTECODE", None)  # without byte code every start takes seconds longer
    return {
        **inherited,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), inherited.get("PATH", os.defpath)]),
        **{name: ",".join(filter(None, [inherited.get(name), HOST])) for name in ("NO_PROXY", "no_proxy")},
        "AIRFLOW_HOME": str(home.resolve()),
        **{f"AIRFLOW__{name}": value for name, value in _SETTINGS.items()},
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags_folder.resolve()),
        **env,
    }


class AirflowHome(ProcessSession):
    """An Airflow on SQLite that runs while the block does.

    Args:
        path: Its folder: database, configuration, logs.
        dags_folder: Where the DAG files are.
        env: More variables for Airflow and its tasks.
        on_progress: Told in a few words whenever something changed.
    """

    def __init__(
        self,
        path: Path,
        dags_folder: Path,
        env: Mapping[str, str] | None = None,
        *,
        on_progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        port = free_port()
        self.url = f"http://{HOST}:{port}"
        address = {"AIRFLOW__API__PORT": str(port), "AIRFLOW__API__BASE_URL": self.url}
        environment = airflow_environment(path, dags_folder, {**address, **(env or {})})
        super().__init__([sys.executable, "-m", "airflow", "standalone"], log=path / "standalone.log", env=environment)
        self._on_progress = on_progress
        self._told = self._token = ""

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            self._tell("starting")
            self.wait_for(self._is_healthy, "a healthy Airflow", _PATIENCE_S)
            self._token = self._api("/auth/token")["access_token"]
        except BaseException:
            self.end()
            raise
        return self

    def run(self, dag_id: str, params: _Json | None = None, timeout_s: float = 900) -> DagRun:
        """Run a DAG with these params to its end, as soon as Airflow knows it.

        Raises:
            DagRunFailedError: A task failed; the message has its log.
            DagImportError: It is not there, and a file of the folder cannot be imported.
            DemoError: There is no such DAG, Airflow refuses the params or has ended, or the time is over.
        """
        self.wait_for(lambda: self._has_dag(dag_id), f"the DAG {dag_id}", _PATIENCE_S)
        address = f"/api/v2/dags/{quote(dag_id)}"
        self._api(address, "PATCH", {"is_paused": False})
        run_id = self._api(f"{address}/dagRuns", "POST", {"conf": dict(params or {}), "logical_date": None})["dag_run_id"]
        address = f"{address}/dagRuns/{quote(run_id)}"
        run = self.wait_for(lambda: self._ended(address), f"the end of {dag_id}", timeout_s, _POLL_S)
        if run.state == "failed":
            raise DagRunFailedError(run, self._why(address, run))
        return run

    def _is_healthy(self) -> bool | None:
        parts = {name: part["status"] or "starting" for name, part in self._api("/api/v2/monitor/health").items()}
        self._tell(", ".join(f"{name} {status}" for name, status in parts.items()))
        return set(parts.values()) == {"healthy"} or None

    def _has_dag(self, dag_id: str) -> bool | None:
        if any(dag["dag_id"] == dag_id for dag in self._pages("/api/v2/dags", "dags", "dag_id")):
            return True
        if errors := self._api("/api/v2/importErrors")["import_errors"]:
            raise DagImportError("\n".join(f"{error['filename']}: {error['stack_trace']}" for error in errors))
        return None

    def _ended(self, address: str) -> DagRun | None:
        found = self._api(address)  # before its tasks, so that none of them changes once the run is over
        tasks = [
            TaskRun(task["task_id"], task["map_index"], task["state"], task["try_number"], task["duration"])
            for task in self._pages(f"{address}/taskInstances", "task_instances", "start_date")
        ]
        run = DagRun(found["dag_id"], found["dag_run_id"], found["state"], tuple(tasks))
        self._tell(f"{run.dag_id} {run.state}: {run}")
        return run if run.state in {"success", "failed"} else None

    def _why(self, address: str, run: DagRun) -> str:
        failed = next((task for task in run.tasks if task.state == "failed"), None)
        if failed is None:
            return self.last_lines()
        log = f"{address}/taskInstances/{quote(failed.task_id)}/logs/{failed.try_number}?full_content=true&map_index={failed.map_index}"
        lines = [line for entry in self._api(log)["content"] for line in _log_lines(entry)]
        title = f"the log of {failed.task_id} [{failed.map_index}], try {failed.try_number} (what Airflow itself wrote: {self.log}):"
        return "\n".join([title, *lines[-_LOG_LINES:]])

    def _tell(self, text: str) -> None:
        if text != self._told:
            self._told = text
            self._on_progress(text)

    def _pages(self, address: str, key: str, order_by: str) -> Iterator[Any]:
        seen, total = 0, 1
        while seen < total:
            page = self._api(f"{address}?order_by={order_by}&limit={_PAGE}&offset={seen}")
            yield from page[key]
            seen, total = seen + _PAGE, page["total_entries"]

    def _api(self, address: str, method: str = "GET", body: Any = None) -> Any:
        return fetch_json(self.url + address, method, body, self._token)


def _log_lines(entry: _Json) -> Iterator[str]:
    """A line of a task's log, which Airflow keeps as JSON, with the traceback it may have."""
    if not entry["event"].startswith("::"):
        yield entry["event"]
    for error in entry.get("error_detail") or ():
        yield from (f'  File "{frame["filename"]}", line {frame["lineno"]}, in {frame["name"]}' for frame in error["frames"])
        yield f"{error['exc_type']}: {error['exc_value']}"


def dag_test(home: Path, dag_file: Path, dag_id: str, params: _Json | None = None, env: Mapping[str, str] | None = None) -> DagRun:
    """Run a DAG in one process, task after task, with Airflow's own `DAG.test`; for tests, which want no scheduler.

    Raises:
        DagRunFailedError: A task failed; the message ends with what it wrote.
        DemoError: The file cannot be imported, has no such DAG, or the time is over.
    """
    result = home.resolve() / "dag-test.json"
    result.unlink(missing_ok=True)
    command = [sys.executable, "-m", "demo.airflow_home", str(dag_file.resolve()), dag_id, json.dumps(params), str(result)]
    environment = airflow_environment(home, dag_file.parent, env or {})
    with ProcessSession(command, log=home / "dag-test.log", env=environment, cwd=Path(__file__).parent.parent) as session:
        found = json.loads(session.wait_for(result.read_text, f"the end of {dag_id}", _PATIENCE_S))
        run = DagRun(dag_id, found["run_id"], found["state"], tuple(TaskRun(*task) for task in found["tasks"]))
        if run.state == "failed":
            raise DagRunFailedError(run, session.last_lines())
    return run


def main() -> None:
    """Run the DAG of a file and write what became of it: DAG_FILE DAG_ID PARAMS RESULT_FILE."""
    from airflow.dag_processing.dagbag import DagBag  # noqa: PLC0415  # seconds, and only this process needs it
    from airflow.utils import db  # noqa: PLC0415

    dag_file, dag_id, params, result = sys.argv[1:]
    db.initdb()
    bag = DagBag(dag_file)
    if dag_id not in bag.dags:
        sys.exit("\n".join([f"{dag_file} has no DAG {dag_id}", *bag.import_errors.values()]))
    run = bag.dags[dag_id].test(run_conf=json.loads(params))
    tasks = [(task.task_id, task.map_index, task.state, task.try_number, task.duration) for task in run.get_task_instances()]
    write_whole(Path(result), json.dumps({"run_id": run.run_id, "state": run.state, "tasks": tasks}))


if __name__ == "__main__":
    main()
