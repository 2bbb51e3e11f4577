"""The starter as exported, task by task through the runtime's command line, against a server that counts calls itself."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from demo.airflow_home import dag_test
from xcs_airflow.authoring.load import load_pipeline
from xcs_airflow.exporting.assemble import assemble
from xcs_airflow.exporting.registry import load_exporter
from xcs_airflow.exporting.writer import write_bundle
from xcs_airflow.manifest import Manifest
from xcs_airflow.passes import LLMGraphEnhancer
from xcs_airflow.plan import CloudExporter

pytestmark = pytest.mark.real

STARTER = Path(__file__).parents[2] / "templates" / "starters" / "triage"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    pipeline = load_pipeline(f"{STARTER / 'pipeline.py'}:triage")
    plan = CloudExporter().export(LLMGraphEnhancer().enhance(pipeline.graph()))
    write_bundle(assemble(plan, load_exporter("airflow"), {}, pipeline.code()), folder)
    return folder


def tickets(count):
    """The starter's tickets, fewer or over and over with their number put in, so that most are new."""
    lines = [json.loads(line) for line in (STARTER / "tickets.jsonl").read_text(encoding="utf-8").splitlines()]
    rounds = [
        {**line, "text": line["text"] if not n else f"{line['text']} ({n})"} for n in range(-(-count // len(lines))) for line in lines
    ]
    return rounds[:count]


def run(bundle, store, llmock, run_id, path):
    """Every task of the bundle in order, each in a process of its own; the value of the last."""
    manifest = Manifest.model_validate(json.loads((bundle / "manifest.json").read_text(encoding="utf-8")))
    models = {"openai": {"endpoint": f"{llmock.url}/v1", "billing": "none"}}
    environment = {**os.environ, "XCS_STORE": str(store), "XCS_MODELS": json.dumps(models)}
    for task in manifest.tasks:
        command = [sys.executable, "-m", "xcs_airflow.runtime", "--manifest", str(bundle / "manifest.json"), "--task", task.id]
        command += ["--run", run_id, "--params", json.dumps({"path": str(path)})]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return manifest


@pytest.mark.parametrize("count", [24, 240, 2400])
def test_the_server_sees_every_distinct_prompt_once_and_nothing_the_second_time(bundle, llmock, tmp_path, count):
    inbox = tickets(count)
    path = tmp_path / "inbox.jsonl"
    path.write_text("\n".join(json.dumps(ticket) for ticket in inbox), encoding="utf-8")
    distinct = len({ticket["text"] for ticket in inbox})

    before = llmock.count()
    manifest = run(bundle, tmp_path / "store", llmock, "first", path)
    assert llmock.count() - before == 3 * distinct

    run(bundle, tmp_path / "store", llmock, "second", path)
    assert llmock.count() - before == 3 * distinct
    assert [task.shards for task in manifest.tasks] == [1, 1, 1]


def test_a_real_airflow_runs_the_exported_dag(bundle, llmock, tmp_path):
    before = llmock.count()
    models = {"openai": {"endpoint": f"{llmock.url}/v1", "billing": "none"}}
    environment = {"XCS_STORE": str(tmp_path / "store"), "XCS_MODELS": json.dumps(models)}
    run = dag_test(tmp_path / "airflow", bundle / "triage.py", "triage", env=environment)
    states = {task.task_id: task.state for task in run.tasks}
    assert states == dict.fromkeys(["load", "classify_extract_summarise", "report"], "success")
    assert llmock.count() - before == 3 * 180


def test_the_dag_does_not_grow_with_the_tickets():
    pipeline = load_pipeline(f"{STARTER / 'pipeline.py'}:triage")
    graph = pipeline.graph()
    first, *rest = graph
    many = graph.replace(operations=[first.model_copy(update={"items": 2_400_000, "distinct_items": 2_400_000}), *rest])
    plans = [CloudExporter().export(LLMGraphEnhancer().enhance(version)) for version in (graph, many)]
    dags = [load_exporter("airflow").emit(plan, {}).text("triage.py") for plan in plans]
    assert [[task.id for task in plan.tasks] for plan in plans] == [["load", "classify_extract_summarise", "report"]] * 2
    assert plans[1].tasks[1].shards > 100
    assert dags[0].count("task_id=") == dags[1].count("task_id=") == 3
