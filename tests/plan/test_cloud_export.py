"""The plan: tasks sum up their operations, the document is valid, and nothing about it depends on chance."""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import jsonschema
import pytest

from xcs_airflow.cost.compute import platforms, task_cost_usd
from xcs_airflow.cost.figures import Money
from xcs_airflow.errors import GraphError
from xcs_airflow.ir import Graph, Operation, Ref, Resources
from xcs_airflow.plan import CloudExporter, json_schema

TESTS = Path(__file__).parents[1]


@pytest.fixture
def plan(graph):
    return CloudExporter().export(graph)


def test_the_document_is_valid_against_the_published_schema(any_graph):
    for target in (None, "aws-batch"):
        document = json.loads(CloudExporter(target=target).export(any_graph).to_json())
        jsonschema.validate(document, json_schema(), jsonschema.Draft202012Validator)
        assert document.get("target") == target


def test_the_manifest_is_a_document_of_its_own(plan):
    assert "manifest" not in plan.to_dict()
    assert plan.manifest.graph_digest == plan.graph_digest


def test_edges_are_what_tasks_need(plan):
    assert [(edge.before, edge.after) for edge in plan.edges] == [("tickets", "classify_summarise"), ("classify_summarise", "report")]


def test_a_task_has_what_all_its_operations_need(plan):
    task = plan.tasks[1]
    assert task.operations == ("classify", "summarise")
    assert task.secrets == {"OPENAI_API_KEY": "openai-key"}
    assert task.providers == ("openai",)
    assert (task.resources.cpu, task.resources.memory_mib) == (1.0, 512)
    assert plan.tasks[2].timeout_s == 600
    assert task.timeout_s is None


def test_money_and_time_of_tasks_add_up_to_those_of_their_operations(plan):
    for task in plan.tasks:
        own = [operation.estimate for operation in plan.operations if operation.task == task.id]
        assert task.cost_usd == Money.total(entry.cost_usd for entry in own)
        assert task.duration_s.expected == pytest.approx(sum(entry.duration_s.expected for entry in own))
    assert plan.totals.cost_usd.expected == sum((task.cost_usd.expected for task in plan.tasks), Decimal(0))


def test_the_longest_path_goes_first():
    def work(name, *needs):
        return Operation(id=name, func="pipeline:work", inputs={need: Ref(operation=need) for need in needs})

    plan = CloudExporter().export(Graph([work("short"), work("a"), work("b", "a"), work("c", "b")]))
    rank = {task.id: task.priority for task in plan.tasks}
    assert rank["a"] > rank["b"] > rank["c"] == rank["short"]


def test_totals_count_tasks_and_starts(graphs):
    totals = CloudExporter().export(graphs["sharded"]()).totals
    assert (totals.tasks, totals.starts) == (4, 10)


def test_a_graph_that_is_not_well_formed_is_refused_with_every_finding():
    graph = Graph([Operation(id="a", func="m:f", inputs={"x": Ref(operation="b"), "y": Ref(operation="c")})])
    with pytest.raises(GraphError) as caught:
        CloudExporter().export(graph)
    assert [finding.code for finding in caught.value.findings] == ["XCS203", "XCS203"]


def test_the_same_bytes_come_from_every_process():
    code = "import conftest; from xcs_airflow.plan import CloudExporter; print(CloudExporter().export(conftest.small_graph()).to_json())"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code], cwd=TESTS, env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("0", "1")
    }
    assert len(outputs) == 1


def test_a_plan_for_a_cloud_says_what_its_machines_cost(graph):
    """Fargate bills a minute at least for every start, Airflow's workers have no price that anybody knows."""
    free, paid, unknown = (CloudExporter(target=target).export(graph) for target in (None, "aws-batch", "airflow"))
    assert free.totals.compute_usd is None
    assert "compute_usd" not in free.to_dict()["totals"]
    minute = task_cost_usd(platforms()["aws-batch"], Resources(cpu=0.25, memory_mib=512), 0.0).expected
    assert paid.totals.compute_usd.expected >= minute * paid.totals.starts
    assert unknown.totals.compute_usd.unknown
