"""`llm`: templates and prompt functions, their settings, and asking with values."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

import pytest
from pydantic import BaseModel, field_validator

from xcs_airflow.authoring import llm, pipeline
from xcs_airflow.errors import ModelError, TraceError
from xcs_airflow.ir import BatchPolicy, LLMMetadata, Resources, Retry
from xcs_airflow.testing import fake_models

MODEL = "openai/gpt-4.1-mini"


class Details(BaseModel):
    order: str | None
    urgent: bool

    @field_validator("order")
    @classmethod
    def _has_no_spaces(cls, order: str | None) -> str | None:
        if order and " " in order:
            raise ValueError("orders have no spaces")
        return order


@dataclass
class Point:
    x: int


classify = llm(MODEL, "Team of {ticket}?", output=Literal["bug", "other"], temperature=0)
extract = llm(MODEL, "Details of {ticket}", system="You work for {company}.", output=Details)


@llm(MODEL, max_tokens=60)
def summarise(ticket: str, tone: str = "dry") -> str:
    """Say it in one line."""
    return f"Sum up, {tone}: {ticket}"


@llm(MODEL)
def discuss(topic: str, turns: int = 1) -> list[str]:
    return [{"role": "system", "content": "List."}] + [{"role": "user", "content": topic}] * turns


@llm(MODEL, pack=3, mechanism="packed")
def packed_by_choice(x: str) -> str:
    return f"About {x}"


def test_a_template_asks_the_model():
    with fake_models("bug") as calls:
        answer = classify(ticket="It crashes")

    assert (answer, calls.prompts) == ("bug", ["Team of It crashes?"])
    assert (calls[0].model, calls[0].temperature, calls[0].output_schema["enum"]) == (MODEL, 0, ["bug", "other"])


def test_inputs_may_be_given_in_their_order():
    with fake_models("bug") as calls:
        classify("It crashes")
    assert calls.prompts == ["Team of It crashes?"]


def test_inputs_that_are_not_text_read_as_json():
    with fake_models("bug") as calls:
        classify(Details(order="A", urgent=True))
        classify([1, None])
    assert calls.prompts == ['Team of {"order": "A", "urgent": true}?', "Team of [1, null]?"]


def test_answers_have_the_output_type():
    with fake_models(Details(order="A1", urgent=False)) as calls:
        answer = extract("x", company="Quill")

    assert Details(order="A1", urgent=False) == answer
    assert calls[0].messages == [{"role": "system", "content": "You work for Quill."}, {"role": "user", "content": "Details of x"}]


@pytest.mark.parametrize(
    ("output", "reply", "answer"), [(int, 3, 3), (bool, True, True), (list[Point], [{"x": 1}], [Point(1)]), (str, "a", "a")]
)
def test_any_type_that_is_json_can_be_an_answer(output, reply, answer):
    question = llm(MODEL, "{x}", output=output)
    with fake_models(lambda _: reply):
        assert answer == question("?")


def test_an_answer_that_the_type_refuses_is_a_model_error():
    with fake_models(Details.model_construct(order="A 1", urgent=True)), pytest.raises(ModelError, match="orders have no spaces"):
        extract("x", company="Quill")


def test_a_prompt_function_writes_the_prompt():
    with fake_models("Short.") as calls:
        assert summarise("long text", tone="kind") == "Short."
    assert (calls.prompts, calls[0].max_tokens) == (["Sum up, kind: long text"], 60)


def test_a_prompt_function_may_return_messages_of_any_number():
    with fake_models(lambda prompt: [prompt]) as calls:
        answers = discuss.map(topic=["x", "y", "z"], turns=[1, 2, 1])

    assert answers == [["List.\n\nx"], ["List.\n\ny\n\ny"], ["List.\n\nz"]]
    assert {2, 3} == {len(call.messages) for call in calls}


def test_braces_in_a_written_prompt_are_text():
    with fake_models("ok") as calls:
        summarise("{tone} {0}")
    assert calls.prompts == ["Sum up, dry: {tone} {0}"]


@pytest.mark.parametrize(
    "written", [None, 5, [{"role": "user"}], [{"role": "boss", "content": "x"}], [{"role": "user", "content": 5}], ["x"]]
)
def test_what_is_no_prompt_is_named(written):
    @llm(MODEL)
    def ask(x: int) -> str:
        return written

    with fake_models("ok") as calls, pytest.raises(TraceError, match="XCS115"):
        ask(1)
    assert calls.count == 0


def test_mapped_calls_ask_about_every_item_and_keep_the_order():
    with fake_models({"crash": "bug", "hello": "other"}) as calls:
        assert classify.map(ticket=["a crash", "hello", "b crash"]) == ["bug", "other", "bug"]
    assert calls.count == 3


def test_deterministic_calls_are_remembered_and_others_are_not():
    with fake_models("bug", cache=True) as calls:
        classify.map(ticket=["a", "a"])
        classify("a")
        assert calls.count == 1
        summarise("a")
        summarise("a")
        assert calls.count == 3


def test_settings_become_fields_of_the_operation():
    question = llm(
        MODEL,
        "{x}",
        temperature=0.5,
        max_tokens=9,
        seed=4,
        cacheable=True,
        batchable=False,
        quality_sensitive=True,
        input_tokens=10,
        output_tokens=2,
        latency_s=1.5,
        cost_usd="0.01",
        cpu=4,
        memory_mib=16_384,
        gpu=1,
        gpu_type="nvidia-l4",
        retries=4,
        timeout="1h",
        secrets={"OPENAI_API_KEY": "name"},
        env={"A": "b"},
        name="ask",
        description="Asks.",
    )
    operation = question.operation()

    assert operation.metadata == LLMMetadata(
        model=MODEL,
        temperature=0.5,
        max_tokens=9,
        seed=4,
        cacheable=True,
        batchable=False,
        quality_sensitive=True,
        estimated_input_tokens=10,
        estimated_output_tokens=2,
        estimated_latency_s=1.5,
        estimated_cost_usd=Decimal("0.01"),
    )
    assert (Retry(attempts=5), 3600, "ask", "Asks.") == (operation.retry, operation.timeout_s, question.step_name, operation.description)
    assert (operation.secrets, operation.env) == ({"OPENAI_API_KEY": "name"}, {"A": "b"})
    assert operation.resources == Resources(cpu=4, memory_mib=16_384, gpu=1, gpu_type="nvidia-l4")


def test_text_answers_need_no_schema_and_others_carry_theirs():
    assert summarise.operation().output_schema is None
    assert classify.operation().output_schema == {"type": "string", "enum": ["bug", "other"]}
    assert extract.operation().output_schema["additionalProperties"] is False
    assert discuss.operation().output_schema == {"type": "array", "items": {"type": "string"}}


def test_calls_through_a_batch_api_are_a_group_of_their_own_in_every_place():
    ask = llm(MODEL, "About {x}", mechanism="provider_batch", on_orphan="resubmit", name="ask")
    usual = llm(MODEL, "About {x}", mechanism="concurrent", name="usual")

    @pipeline
    def flow(items: list[str]):
        return [ask.map(x=items), ask.map(x=items), usual.map(x=items)]

    policies = [operation.batch for operation in flow.graph()]
    assert policies == [
        BatchPolicy(group="ask", mechanism="provider_batch", on_orphan="resubmit"),
        BatchPolicy(group="ask.2", mechanism="provider_batch", on_orphan="resubmit"),
        None,
    ]
    with fake_models("here and now") as calls:
        assert ask(x="a") == "here and now"
        assert calls.count == 1


def test_items_are_packed_only_where_the_author_allows_it():
    allowed = llm(MODEL, "About {x}", pack=5, name="allowed")
    usual = llm(MODEL, "About {x}", name="usual", quality_sensitive=True)

    @pipeline
    def flow(items: list[str]):
        return [step.map(x=items) for step in (allowed, usual, packed_by_choice)]

    operations = list(flow.graph())
    assert [operation.metadata.max_pack for operation in operations] == [5, 1, 3]
    assert [operation.items_per_request for operation in operations] == [1, 1, 3]
    assert operations[2].batch.group == "packed_by_choice"


def test_output_goes_before_the_return_annotation():
    @llm(MODEL, output=bool)
    def is_urgent(ticket: str) -> str:
        return f"Urgent? {ticket}"

    with fake_models(True):
        assert is_urgent("x") is True


def test_a_prompt_function_without_a_return_annotation_answers_text():
    @llm(MODEL)
    def ask(x):
        return f"{x}"

    with fake_models("a"):
        assert ask("x") == "a"


@pytest.mark.parametrize("output", [object, type, type(None), Exception])
def test_an_answer_that_is_not_json_is_refused(output):
    with pytest.raises(TraceError, match="XCS108"):
        llm(MODEL, "{x}", output=output).operation()


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"temprature": 0}, "temprature"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"input_tokens": 1.5}, "input_tokens"),
        ({"cost_usd": "5 EUR"}, "cost_usd"),
        ({"timeout": "soon"}, "timeout"),
        ({"mechanism": "packed"}, "mechanism"),
        ({"mechanism": "packed", "pack": 5, "on_orphan": "resubmit"}, "on_orphan"),
        ({"pack": 0}, "pack"),
        ({"pack": True}, "pack"),
        ({"pack": "5"}, "pack"),
        ({"pack": 5, "quality_sensitive": True}, "pack"),
        ({"pack": 5, "batchable": False}, "pack"),
        ({"pack": 5, "mechanism": "provider_batch"}, "pack"),
        ({"on_orphan": "resubmit"}, "on_orphan"),
        ({"mechanism": "provider_batch", "on_orphan": "pay"}, "on_orphan"),
    ],
)
def test_wrong_settings_are_named_as_they_were_written(settings: dict[str, Any], name):
    with pytest.raises(TraceError) as caught:
        llm(MODEL, "{x}", **settings)
    finding = caught.value.findings[0]
    assert ("XCS110", name) == (finding.code, finding.message.partition(" ")[0])
    assert finding.place.startswith("tests/authoring/test_llms.py:")


def test_a_prompt_function_takes_no_system_message():
    with pytest.raises(TraceError, match="let it return a list of messages"):
        llm(MODEL, system="Be brief.")(lambda x: x)


def test_a_template_without_inputs_says_so_when_it_is_given_one():
    with pytest.raises(TraceError) as caught:
        llm(MODEL, "Hello ticket", name="ask")(ticket="x")
    assert (caught.value.code, caught.value.findings[0].message) == ("XCS107", "the template of ask has no input to fill")


def test_a_template_without_inputs_can_be_asked():
    with fake_models("Red.") as calls:
        assert llm(MODEL, "Name a colour.")() == "Red."
    assert calls.prompts == ["Name a colour."]


def test_it_knows_its_name():
    assert (classify.step_name, summarise.step_name) == ("classify", "summarise")
    assert f"<llm classify: {MODEL}>" == repr(classify)
    assert (summarise.__name__, summarise.__doc__) == ("summarise", "Say it in one line.")
