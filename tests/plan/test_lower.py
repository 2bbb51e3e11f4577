"""Lowering: groups become tasks, everything else a task of its own, and a fingerprint changes exactly when a result may."""

from __future__ import annotations

import pytest

from xcs_airflow.errors import GraphError, PlanError
from xcs_airflow.ir import (
    BatchPolicy,
    CachePolicy,
    Constant,
    Graph,
    Hole,
    LLMMetadata,
    LLMOperation,
    Message,
    Operation,
    Prompt,
    Ref,
    Retry,
)
from xcs_airflow.ir.llm_ops import PrefixPolicy
from xcs_airflow.manifest import CacheRule
from xcs_airflow.plan.lower import fingerprints, lower


def question(name, *needs, group=None, **fields):
    return LLMOperation(
        id=name,
        prompt=Prompt(messages=(Message(parts=("About ", *(Hole(input=need) for need in needs))),)),
        inputs={need: Ref(operation=need) for need in needs},
        metadata=LLMMetadata(model="openai/gpt-4.1-mini"),
        batch=BatchPolicy(group=group, in_flight=8) if group else None,
        **fields,
    )


def step(name, *needs, **fields):
    return Operation(id=name, func="pipeline:work", inputs={need: Ref(operation=need) for need in needs}, **fields)


def prints(*operations):
    return fingerprints(operations)


def test_a_group_is_one_task_and_every_other_operation_its_own(graph):
    manifest = lower(graph)
    assert [(task.id, [step.id for step in task.steps], task.needs) for task in manifest.tasks] == [
        ("tickets", ["tickets"], ()),
        ("classify_summarise", ["classify", "summarise"], ("tickets",)),
        ("report", ["report"], ("classify_summarise",)),
    ]
    assert [task.in_flight for task in manifest.tasks] == [1, 16, 1]


def test_a_fused_task_runs_its_steps_in_order_with_the_places_in_flight_of_its_groups():
    steps = [step("load", fused="x"), question("a", "load", group="g", fused="x"), step("end", "a", fused="x"), step("alone", "end")]
    manifest = lower(Graph(reversed(steps)))
    assert [(task.id, [step.id for step in task.steps], task.needs, task.in_flight) for task in manifest.tasks] == [
        ("load_a_end", ["load", "a", "end"], (), 8),
        ("alone", ["alone"], ("load_a_end",), 1),
    ]


def test_fused_tasks_that_wait_for_each_other_are_refused():
    with pytest.raises(GraphError, match="a_c -> b -> a_c"):
        lower(Graph([step("a", fused="x"), step("b", "a"), step("c", "b", fused="x")]))


def test_a_batch_of_a_provider_keeps_tasks_of_its_own_whatever_it_is_to_be_fused_with():
    batch = BatchPolicy(group="g", mechanism="provider_batch")
    asked = question("a", "load", fused="x").model_copy(update={"batch": batch})
    kinds = [(task.id, task.kind) for task in lower(Graph([step("load", fused="x"), asked])).tasks]
    assert kinds == [("load", "run"), ("a.submit", "submit"), ("a.poll", "poll"), ("a", "collect")]


def test_fusing_changes_no_fingerprint():
    assert prints(step("a"), step("b", "a")) == prints(step("a", fused="x"), step("b", "a", fused="x"))


def test_the_manifest_tells_the_runtime_what_to_ask_and_what_to_remember(graph):
    (classify, _) = lower(graph).task_by_id["classify_summarise"].steps
    assert classify.call is not None
    assert (classify.call.model, classify.call.temperature, classify.call.max_tokens) == ("openai/gpt-4.1-mini", 0, 8)
    assert classify.call.prompt == graph["classify"].prompt
    assert classify.cache == CacheRule()
    assert classify.map_over == ("ticket",)


def test_tasks_come_after_all_they_need(any_graph):
    seen = set()
    for task in lower(any_graph).tasks:
        assert set(task.needs) <= seen
        seen.add(task.id)


def test_every_operation_is_in_exactly_one_task(any_graph):
    assert sorted(step.id for step in lower(any_graph).steps()) == sorted(operation.id for operation in any_graph)


def test_shards_that_nobody_decided_are_one_and_have_to_fit_their_task():
    mapped = {"inputs": {"x": Ref(operation="l")}, "map_over": ("x",), "fused": "t"}
    uneven = [Operation(id="a", func="m:f", shards=3, source="p.py:3", **mapped), Operation(id="b", func="m:f", source="p.py:9", **mapped)]
    with pytest.raises(PlanError, match=r"XCS218.*%a 3 \(p.py:3\), %b 1 \(p.py:9\)"):
        lower(Graph([Operation(id="l", func="m:f"), *uneven]))
    even = [operation.model_copy(update={"shards": 3}) for operation in uneven]
    assert [task.shards for task in lower(Graph([Operation(id="l", func="m:f"), *even])).tasks] == [1, 3]


def test_members_of_a_group_may_wait_for_each_other():
    manifest = lower(Graph([step("a"), question("b", "a", group="g"), question("c", "b", group="g")]))
    assert manifest.task_by_id["b_c"].needs == ("a",)


def test_groups_that_wait_for_each_other_are_refused():
    operations = [question("a", group="one"), question("b", "a", group="two"), question("c", "b", group="one")]
    with pytest.raises(GraphError, match="XCS205"):
        lower(Graph(operations))


def test_names_of_groups_are_short_and_never_those_of_others():
    names = [f"{letter * 30}" for letter in "abc"]
    manifest = lower(
        Graph([step("x_y"), *(question(name, group="long") for name in names), question("x", group="g"), question("y", group="g")])
    )
    ids = [task.id for task in manifest.tasks]
    assert len(set(ids)) == 3
    assert all(len(name) <= 60 for name in ids)
    assert "x_y" in ids


def test_the_number_of_shards_is_that_of_the_members(graphs):
    assert [task.shards for task in lower(graphs["sharded"]()).tasks] == [1, 4, 4, 1]


@pytest.mark.parametrize(
    "change",
    [
        {"source": "elsewhere.py:1"},
        {"description": "new"},
        {"items": 7},
        {"retry": Retry(attempts=9)},
        {"timeout_s": 5},
        {"image": "other:1"},
    ],
)
def test_what_cannot_change_a_result_leaves_the_fingerprint(change):
    assert prints(step("a").model_copy(update=change)) == prints(step("a"))


@pytest.mark.parametrize(
    "change",
    [
        {"func": "pipeline:other"},
        {"code": "0123456789abcdef"},
        {"inputs": {"x": Constant(constant=1)}},
        {"env": {"A": "b"}},
        {"when": Constant(constant=True)},
        {"shards": 2},
    ],
)
def test_what_may_change_a_result_changes_the_fingerprint_of_all_that_read_it(change):
    operations = [step("a"), step("b", "a"), step("c")]
    before = prints(*operations)
    after = prints(operations[0].model_copy(update=change), *operations[1:])
    assert [name for name in before if before[name] != after[name]] == ["a", "b"]


def test_estimates_are_no_part_of_a_request_but_its_settings_are():
    asked = question("a")
    data = asked.metadata
    same = asked.model_copy(update={"metadata": data.model_copy(update={"estimated_output_tokens": 3, "batchable": False})})
    other = asked.model_copy(update={"metadata": data.model_copy(update={"seed": 1})})
    assert prints(same) == prints(asked)
    assert prints(other) != prints(asked)


def test_a_cached_answer_is_told_how_long_it_is_good():
    manifest = lower(Graph([question("a", cache=CachePolicy(ttl_s=60, epoch="two"))]))
    assert next(manifest.steps()).cache == CacheRule(ttl_s=60, epoch="two")


def test_how_requests_are_sent_is_in_the_manifest_where_it_is_not_the_default():
    asked = question("a")
    data = asked.metadata.model_copy(update={"max_pack": 5})
    batch = BatchPolicy(group="a", mechanism="packed", pack_size=5)
    changed = asked.model_copy(update={"metadata": data, "batch": batch, "prefix": PrefixPolicy(ttl_s=3600, prime=True)})
    plain, sent = (lower(Graph([operation], name="p")) for operation in (asked, changed))
    assert {"pack", "prefix"}.isdisjoint(plain.to_dict()["tasks"][0]["steps"][0]["call"])
    call = sent.to_dict()["tasks"][0]["steps"][0]["call"]
    assert (call["pack"], call["prefix"]) == (5, {"ttl_s": 3600, "prime": True})
    assert prints(changed.model_copy(update={"batch": None})) == prints(asked)
    assert prints(changed) != prints(asked)
