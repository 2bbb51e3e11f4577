"""Plans and bundles for the tests of this exporter."""

from __future__ import annotations

import json

import pytest

from xcs_airflow.exporting.bundle import Bundle
from xcs_airflow.ir import BatchPolicy, Graph, LLMMetadata, LLMOperation, Message, Operation, Prompt, Ref
from xcs_airflow.plan import CloudExporter, CloudGraph
from xcs_exporters.aws_batch import AwsBatchExporter


def batched_graph(groups: int = 1) -> Graph:
    """A call that goes through a provider's batch API, or several of them side by side -> report."""
    names = ["ask", *(f"ask{number}" for number in range(2, groups + 1))]
    prompt, metadata = Prompt(messages=(Message(parts=("Hello",)),)), LLMMetadata(model="openai/gpt-4.1-mini")
    calls = [
        LLMOperation(id=name, prompt=prompt, metadata=metadata, batch=BatchPolicy(group=name, mechanism="provider_batch")) for name in names
    ]
    report = Operation(id="report", func="pipeline:report", inputs={name: Ref(operation=name) for name in names})
    return Graph([*calls, report], name="batched")


def emit_bundle(graph: Graph, **settings) -> Bundle:
    return AwsBatchExporter().emit(CloudExporter().export(graph), settings)


@pytest.fixture
def emit():
    """The bundle of a graph, settings by keyword."""
    return emit_bundle


@pytest.fixture
def plan(graph) -> CloudGraph:
    """The plan of the small pipeline."""
    return CloudExporter().export(graph)


@pytest.fixture
def bundle(graph) -> Bundle:
    """The bundle of the small pipeline, with its manifest."""
    plan = CloudExporter().export(graph)
    return AwsBatchExporter().emit(plan, {}).with_files({"manifest.json": json.dumps(plan.manifest.to_dict())})


@pytest.fixture
def document():
    """One file of a bundle as JSON."""
    return lambda bundle, path: json.loads(bundle.files[path])


@pytest.fixture
def definitions():
    """The job definitions of a bundle by the first task that uses them."""

    def by_task(bundle):
        files = [json.loads(content) for path, content in bundle.files.items() if path.startswith("job-definitions/")]
        machine = bundle.text("state-machine.asl.json")
        found = {}
        for task, variable in _submissions(json.loads(machine)):
            mark = variable.removeprefix("${JobDefinition").removesuffix("}")
            found[task] = next(one for one in files if one["jobDefinitionName"].endswith(mark))
        return found

    return by_task


def _submissions(machine):
    for state in machine["States"].values():
        if state["Type"] == "Task":
            yield state["Parameters"]["Parameters"]["task"], state["Parameters"]["JobDefinition"]
        for branch in state.get("Branches", ()):
            yield from _submissions(branch)
