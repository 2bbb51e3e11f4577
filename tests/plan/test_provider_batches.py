"""Lowering of calls for a batch API: three tasks in order, ids that nobody has, and every reason against at once."""

import pytest

from xcs_airflow.errors import PlanError
from xcs_airflow.ir import BatchPolicy, Graph, Hole, LLMMetadata, LLMOperation, Message, Operation, Prompt, Ref
from xcs_airflow.plan.lower import lower


def ask(name, *needs, model="openai/gpt-4.1-mini", mechanism="provider_batch", group="ask", **fields):
    return LLMOperation(
        id=name,
        prompt=Prompt(messages=(Message(parts=("About ", *(Hole(input=need) for need in needs))),)),
        inputs={need: Ref(operation=need) for need in needs},
        metadata=LLMMetadata(model=model),
        batch=BatchPolicy(group=group, mechanism=mechanism),
        **fields,
    )


def load(name="load"):
    return Operation(id=name, func="pipeline:load")


def reasons(*operations):
    with pytest.raises(PlanError) as caught:
        lower(Graph(operations, name="p"))
    assert {finding.code for finding in caught.value.findings} == {"XCS516"}
    return [(finding.operation, finding.message.partition(": ")[2]) for finding in caught.value.findings]


def test_a_group_is_submitted_polled_and_collected():
    report = Operation(id="report", func="pipeline:report", inputs={"answers": Ref(operation="first")})
    manifest = lower(Graph([load(), ask("first", "load", map_over=("load",), shards=3), ask("second", "load"), report], name="p"))
    assert [(task.id, task.kind, task.part_of, task.shards, task.needs) for task in manifest.tasks] == [
        ("load", "run", None, 1, ()),
        ("first_second.submit", "submit", "first_second", 3, ("load",)),
        ("first_second.poll", "poll", "first_second", 1, ("first_second.submit",)),
        ("first_second", "collect", None, 3, ("first_second.poll",)),
        ("report", "run", None, 1, ("first_second",)),
    ]
    assert [len(task.steps) for task in manifest.tasks] == [1, 0, 0, 2, 1]
    batch = manifest.task_by_id["first_second"].provider_batch
    assert batch is not None
    assert (batch.max_requests, batch.max_bytes, batch.window_s) == (50_000, 200_000_000, 86_400)


@pytest.mark.parametrize(("first", "second", "both"), [("resubmit", "resubmit", "resubmit"), ("resubmit", "fail", "fail")])
def test_a_group_pays_twice_only_where_all_its_calls_may(first, second, both):
    def policy(word):
        return BatchPolicy(group="ask", mechanism="provider_batch", on_orphan=word)

    calls = [ask(name).model_copy(update={"batch": policy(word)}) for name, word in (("first", first), ("second", second))]
    batch = lower(Graph(calls, name="p")).task_by_id["first_second"].provider_batch
    assert batch is not None
    assert batch.on_orphan == both


def test_the_new_tasks_take_no_name_that_is_taken():
    manifest = lower(Graph([load("ask.poll"), ask("ask")], name="p"))
    assert [task.id for task in manifest.tasks if task.part_of == "ask"] == ["ask.submit", "ask.poll.2"]


def test_every_reason_is_told_at_once():
    operations = [
        load(),
        ask("first", "load"),
        ask("second", model="anthropic/claude-haiku-4-5"),
        ask("third", mechanism="concurrent"),
        ask("other", model="acme/one", group="other"),
    ]
    assert reasons(*operations) == [
        ("%second", "it asks anthropic, and %first of the same group asks openai"),
        ("%third", "it is to be made concurrent, others of its group are not"),
        ("%other", "no batch API of the provider 'acme' is known"),
    ]


def test_a_call_cannot_read_answers_of_its_own_batch():
    assert reasons(ask("first"), ask("second", "first")) == [
        ("%second", "it reads %first, whose answers come with the same batch"),
    ]
