"""Runs inside a process of its own with real Airflow and tells a test, as JSON, what Airflow made of a folder of DAGs.

python airflow_driver.py (parse|exits|run|follow) DAGS_FOLDER ANSWER_FILE [DAG_ID...]
"""

import json
import sys
import time
import types
import warnings
from pathlib import Path

from airflow._shared.module_loading.file_discovery import find_path_from_directory
from airflow.dag_processing.dagbag import DagBag
from airflow.models.serialized_dag import SerializedDagModel
from airflow.sdk.exceptions import AirflowException
from airflow.serialization.serialized_objects import DagSerialization
from airflow.utils.dag_version_inflation_checker import check_dag_file_stability
from airflow.utils.db import initdb


def load(folder):
    """The bag of a folder, and what was warned about the DAG files themselves."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        bag = DagBag(str(folder), bundle_path=folder, bundle_name="dags-folder")
    return bag, [f"{row.filename}:{row.lineno}: {row.message}" for row in caught if str(folder) in row.filename]


def parse(folder, _dag_ids):
    """What Airflow stores and would run."""
    started = time.perf_counter()
    bag, warned = load(folder)
    seconds = time.perf_counter() - started
    stored = {dag_id: DagSerialization.to_dict(dag) for dag_id, dag in bag.dags.items()}
    return {
        "errors": bag.import_errors,
        "warned": warned,
        "seconds": seconds,
        "modules": sorted({name.split(".")[0] for name in sys.modules}),
        "found": {syntax: _found(folder, syntax) for syntax in ("glob", "regexp")},
        "unstable": [path.name for path in folder.rglob("*.py") if check_dag_file_stability(path).format_warnings()],
        "dags": {dag_id: _described(dag) for dag_id, dag in bag.dags.items()},
        "stored": stored,
        "hashes": {dag_id: SerializedDagModel.hash(json.loads(json.dumps(document))) for dag_id, document in stored.items()},
    }


def _found(folder, syntax):
    """The Python files in which Airflow looks for DAGs."""
    paths = map(Path, find_path_from_directory(folder, ".airflowignore", syntax))
    return sorted(path.relative_to(folder).as_posix() for path in paths if path.suffix == ".py")


def _described(dag):
    return {
        "description": dag.description,
        "timetable": f"{dag.timetable.expression} {dag.timetable.timezone}" if dag.timetable.can_be_scheduled else None,
        "params": {name: dag.params.get_param(name).serialize() for name in dag.params},
        "catchup": dag.catchup,
        "max_active_runs": dag.max_active_runs,
        "timeout": dag.dagrun_timeout and dag.dagrun_timeout.total_seconds(),
        "tasks": {task.task_id: _described_task(task) for task in dag.tasks},
    }


def _described_task(task):
    shards = getattr(task, "expand_input", None)
    return {
        "after": sorted(task.upstream_task_ids),
        "shards": len(shards.value["shard"]) if shards else 1,
        "retries": task.retries,
        "retry_delay": task.retry_delay.total_seconds(),
        "timeout": task.execution_timeout and task.execution_timeout.total_seconds(),
        "weight": task.priority_weight,
        "rule": str(task.weight_rule),
        "template_fields": list(task.template_fields),
        "template_ext": list(task.template_ext),
        "doc": task.doc_md,
    }


def exits(folder, dag_ids):
    """What each exit code of the runtime becomes in one task; `dag_ids` are the ids of the DAG and of the task."""
    bag, _ = load(folder)
    dag_id, task_id = dag_ids
    instance = types.SimpleNamespace(try_number=2, get_first_reschedule_date=lambda context: None)
    context = {"run_id": "run", "ti": instance, "params": {"path": "{{ x }}"}}
    answers = {}
    for code in (0, 75, 1, 2):
        calls = []
        fake = types.ModuleType("xcs_airflow.runtime")
        fake.main = lambda argv, calls=calls, code=code: calls.append(argv) or code
        sys.modules["xcs_airflow.runtime"] = fake
        try:
            raised = bag.dags[dag_id].get_task(task_id).execute(context)
        except AirflowException as error:
            raised = f"{type(error).__name__}: {error}"
        answers[code] = {"raised": raised, "argv": calls[0]}
    return answers


def run(folder, dag_ids):
    """How runs end, in this process, with the real task runner and an empty database."""
    initdb()
    bag, _ = load(folder)
    return {dag_id: str(bag.dags[dag_id].test().state) for dag_id in dag_ids}


def follow(folder, dag_ids):
    """The same, with the name of each run and how its tasks ended, shard by shard."""
    initdb()
    bag, _ = load(folder)
    ended = {}
    for dag_id in dag_ids:
        run = bag.dags[dag_id].test()
        tasks = {}
        for instance in sorted(run.get_task_instances(), key=lambda instance: instance.map_index):
            tasks.setdefault(instance.task_id, []).append(str(instance.state))
        ended[dag_id] = {"state": str(run.state), "run": run.run_id, "tasks": tasks}
    return ended


if __name__ == "__main__":
    action, folder, answer, *dag_ids = sys.argv[1:]
    actions = {"parse": parse, "exits": exits, "run": run, "follow": follow}
    Path(answer).write_text(json.dumps(actions[action](Path(folder), dag_ids)), encoding="utf-8")
