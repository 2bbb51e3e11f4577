"""Probed tasks in a plan: what the plan tells exporters, and what stays as it is without probes."""

from __future__ import annotations

import json

import pytest

from xcs_airflow.ir import BatchPolicy, CachePolicy, Operation, Ref, Resources, Retry
from xcs_airflow.plan import CloudExporter
from xcs_airflow.plan.legalise import needed_features, needs_around_probes
from xcs_airflow.plan.lower import lower
from xcs_airflow.plan.task_ids import free_id
from xcs_airflow.plan.text import print_plan


def planned(graph, target="aws-batch"):
    return CloudExporter(target=target).export(graph)


def test_one_probe_runs_on_the_smallest_size_and_has_what_answers_are_remembered_by(graphs):
    graph = graphs["probed"]()
    fields = {"image": "own:1", "resources": Resources(cpu=4, memory_mib=16384, gpu=1), "retry": Retry(attempts=5)}
    graph = graph.replace(operations=[op.model_copy(update=fields) if op.id == "classify" else op for op in graph])
    tasks = {task.id: task for task in planned(graph).tasks}
    probe, task = tasks["classify.probe"], tasks["classify"]
    assert (probe.kind, probe.needs, task.needs) == ("probe", ("tickets",), ("classify.probe",))
    assert (probe.resources, probe.shards) == (Resources(cpu=0.25, memory_mib=512), 1)
    assert (probe.image, probe.env, probe.secrets, probe.retry) == (task.image, task.env, task.secrets, task.retry)
    assert [probe.is_a_question, task.is_a_question] == [True, False]
    assert (probe.spares.task, probe.spares.chance.expected, task.spares) == ("classify", 0.1, None)
    assert (probe.providers, task.providers) == ((), ("openai",))
    assert (probe.cost_usd.high, probe.duration_s.high) == (0, 0)


def test_only_probes_have_the_field_in_the_document(graphs):
    tasks = {task["id"]: task for task in json.loads(planned(graphs["probed"]()).to_json())["tasks"]}
    assert {name for name, task in tasks.items() if "spares" in task} == {"classify.probe", "answer.probe"}
    assert tasks["answer.probe"]["spares"]["task"] == "answer"
    assert tasks["answer.probe"]["spares"]["chance"]["expected"] == 0.1


def test_the_printed_plan_says_what_is_probed(graphs):
    lines = print_plan(planned(graphs["probed"]())).splitlines()
    rows = {line.split()[0]: line for line in lines if line.startswith(("tickets", "classify", "answer", "report"))}
    assert {name for name, row in rows.items() if "cached, probed" in row} == {"classify", "answer"}


def test_around_probes_a_task_waits_for_what_its_probe_does(graphs):
    plan = planned(graphs["probed"]())
    assert needs_around_probes(plan.tasks) == {
        "tickets": (),
        "classify": ("tickets",),
        "answer": ("classify",),
        "work": ("tickets",),
        "report": ("classify", "answer", "work"),
    }
    assert [task.id for task in needed_features(plan)["probe"]] == ["classify.probe", "answer.probe"]


def test_a_task_is_probed_only_if_all_its_operations_ask_for_it(graphs):
    graph = graphs["probed"]()
    mixed = graph.replace(operations=[op.model_copy(update={"fused": "f"}) if op.id in ("tickets", "classify") else op for op in graph])
    assert [task.id for task in lower(mixed).tasks if task.kind == "probe"] == ["answer.probe"]


def test_what_goes_through_a_batch_api_is_not_probed(graphs):
    batch = {"batch": BatchPolicy(group="g", mechanism="provider_batch")}
    graph = graphs["probed"]()
    graph = graph.replace(operations=[op.model_copy(update=batch) if op.id == "answer" else op for op in graph])
    kinds = {task.id: task.kind for task in lower(graph).tasks}
    assert {name: kind for name, kind in kinds.items() if name.startswith("answer")} == {
        "answer.submit": "submit",
        "answer.poll": "poll",
        "answer": "collect",
    }


@pytest.mark.parametrize(("task", "name"), [("a", "a.probe.2"), ("b", "b.probe"), ("x" * 250, f"{'x' * 239}.probe")])
def test_the_id_of_a_probe_is_free(task, name):
    taken = {"a", "a.probe", "b"}
    assert free_id(task, "probe", taken) == name
    assert name in taken
    assert len(name) <= 250


def test_an_operation_that_is_called_like_a_probe_keeps_its_name(graphs):
    graph = graphs["probed"]()
    twin = Operation(id="classify.probe", func="pipeline:work", inputs={"x": Ref(operation="tickets")})
    tasks = lower(graph.replace(operations=[*graph, twin])).task_by_id
    assert tasks["classify.probe"].kind == "run"
    assert tasks["classify"].needs == ("classify.probe.2",)


def test_calls_whose_answers_no_other_run_may_take_can_be_probed_by_hand(graphs):
    """The probe finds them in its own run alone, as when it is resumed."""
    graph = graphs["probed"]()
    graph = graph.replace(operations=[op.model_copy(update={"cache": None}) if op.id == "answer" else op for op in graph])
    assert "answer.probe" in lower(graph).task_by_id
    assert CachePolicy() == graph["classify"].cache
