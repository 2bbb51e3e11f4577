"""The jobs of a bundle, started through Google's own client and protocol, run the pipeline with the real runtime."""

import json

import pytest

from xcs_airflow.exporting.assemble import assemble
from xcs_airflow.ir import Graph, Operation, Parameter, ParameterSpec, Ref, Retry
from xcs_airflow.plan import CloudExporter
from xcs_airflow.runtime import RuntimeSettings, read_output
from xcs_exporters.cloud_run import CloudRunExporter

from .cloud_run_fake import WorkflowError, deploy, run_workflow, serving

pytestmark = pytest.mark.real

CODE = b"""
import os
from pathlib import Path

NOTES = Path(os.environ["NOTES"])


def load(count):
    with (NOTES / "loads").open("a") as file:
        file.write("x")
    return list(range(count))


def square(number):
    if os.environ["CLOUD_RUN_TASK_ATTEMPT"] == "0":
        raise RuntimeError("the first attempt never works")
    return {"square": number * number, "task": os.environ["CLOUD_RUN_TASK_INDEX"]}


def cube(number):
    if (NOTES / "broken").exists():
        raise RuntimeError("broken")
    return number**3


def report(squares, cubes, title):
    return {
        "squares": [entry["square"] for entry in squares],
        "tasks": sorted({entry["task"] for entry in squares}),
        "cubes": sum(cubes),
        "title": title,
        "greeting": os.environ["GREETING"],
        "secret": os.environ["OPENAI_API_KEY"],
    }
"""


@pytest.fixture
def graph(hostile_texts):
    """load -> 2 shards of square, one cube -> report."""
    one = Retry(attempts=1)
    return Graph(
        [
            Operation(id="load", func="pipeline:load", inputs={"count": Parameter(parameter="count")}, retry=one),
            Operation(id="square", func="pipeline:square", inputs={"number": Ref(operation="load")}, map_over=("number",), shards=2),
            Operation(id="cube", func="pipeline:cube", inputs={"number": Ref(operation="load")}, map_over=("number",), retry=one),
            Operation(
                id="report",
                func="pipeline:report",
                inputs={"squares": Ref(operation="square"), "cubes": Ref(operation="cube"), "title": Parameter(parameter="title")},
                env={"GREETING": "\n".join(hostile_texts).replace("\0", "")},
                secrets={"OPENAI_API_KEY": "openai-key"},
                retry=one,
            ),
        ],
        name="numbers",
        parameters=[
            ParameterSpec(name="count", has_default=True, default=20),
            ParameterSpec(name="title", has_default=True, default="Daily"),
        ],
        output=Ref(operation="report"),
    )


@pytest.fixture
def cloud(graph, tmp_path):
    """A Cloud Run with the pipeline deployed: its bundle's plan and workflow, the fake, and Google's client."""
    plan = CloudExporter().export(graph)
    settings = {"env": {"XCS_STORE": str(tmp_path / "store"), "NOTES": str(tmp_path)}}
    bundle = assemble(plan, CloudRunExporter(), settings, {"pipeline.py": CODE})
    for path, content in bundle.files.items():
        (tmp_path / "image" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "image" / path).write_bytes(content)
    with serving({"/opt/xcs": str(tmp_path / "image")}, {"openai-key": "sesame"}) as (fake, client):
        deploy(client, bundle)
        yield plan, json.loads(bundle.files["workflow.json"]), fake, client


def test_a_run_gives_the_result_of_the_pipeline(cloud, tmp_path, hostile_texts):
    plan, workflow, fake, client = cloud
    title = "a \"b\" $(c) ${d} {{ e }}\n'f'"
    run = run_workflow(client, workflow, "execution-1", {"parameters": {"count": 30, "title": title}})
    assert read_output(plan.manifest, run_id=run, settings=RuntimeSettings(store=str(tmp_path / "store"))) == {
        "squares": [number * number for number in range(30)],
        "tasks": ["0", "1"],
        "cubes": sum(number**3 for number in range(30)),
        "title": title,
        "greeting": "\n".join(hostile_texts).replace("\0", ""),
        "secret": "sesame",
    }
    assert [entry for entry in fake.log if entry[0] == "numbers--square"] == [
        ("numbers--square", index, code) for index in range(2) for code in (1, 0)
    ]


def test_a_failed_task_fails_the_run_and_a_resumed_run_does_the_rest(cloud, tmp_path):
    plan, workflow, fake, client = cloud
    (tmp_path / "broken").touch()
    with pytest.raises(WorkflowError):
        run_workflow(client, workflow, "execution-1")
    assert "numbers--report" not in {job for job, _, _ in fake.log}
    (tmp_path / "broken").unlink()
    run = run_workflow(client, workflow, "execution-2", {"run": "execution-1"})
    output = read_output(plan.manifest, run_id=run, settings=RuntimeSettings(store=str(tmp_path / "store")))
    assert output["cubes"] == sum(number**3 for number in range(20))
    assert (tmp_path / "loads").read_text() == "x"
