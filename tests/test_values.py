"""Where inputs come from, and how prompts are filled."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from xcs_airflow.values import (
    Constant,
    Hole,
    ListOf,
    Message,
    Parameter,
    Prompt,
    RecordOf,
    Ref,
    Value,
    as_text,
    references,
    resolve,
    rewrite,
)

ADAPTER = TypeAdapter(Value)
NESTED = ListOf(items=(Constant(constant=1), RecordOf(fields={"k": Ref(operation="a", path=("x", 0)), "p": Parameter(parameter="p")})))


def test_a_value_round_trips_through_json():
    assert ADAPTER.validate_json(ADAPTER.dump_json(NESTED)) == NESTED


@pytest.mark.parametrize("document", [{}, {"constant": 1, "operation": "a"}, {"unknown": 1}, [], "text", {"operation": 1}])
def test_what_is_no_value_is_refused(document):
    with pytest.raises(ValidationError):
        ADAPTER.validate_python(document)


def test_a_value_is_computed_from_parameters_and_results():
    results = {"a": {"x": ["found"]}}
    assert resolve(NESTED, {"p": 7}, results.__getitem__) == [1, {"k": "found", "p": 7}]


def test_references_are_found_at_any_depth():
    assert list(references(NESTED)) == [Ref(operation="a", path=("x", 0))]


def test_rewriting_nothing_returns_the_same_object():
    assert rewrite(NESTED, lambda ref: ref) is NESTED


def test_rewriting_changes_every_reference():
    renamed = rewrite(NESTED, lambda ref: ref.model_copy(update={"operation": "b"}))
    assert list(references(renamed)) == [Ref(operation="b", path=("x", 0))]


@given(st.text())
def test_an_input_goes_into_a_prompt_verbatim_and_is_never_read_again(text):
    prompt = Prompt(
        messages=(Message(role="system", parts=("Be brief. {ticket}",)), Message(parts=("Ticket: ", Hole(input="ticket"), "!")))
    )
    assert prompt.render({"ticket": text}) == [
        {"role": "system", "content": "Be brief. {ticket}"},
        {"role": "user", "content": f"Ticket: {text}!"},
    ]


def test_inputs_of_a_prompt_are_listed_once_in_writing_order():
    prompt = Prompt(messages=(Message(parts=(Hole(input="b"), Hole(input="a"), Hole(input="b"))),))
    assert prompt.inputs == ("b", "a")


@pytest.mark.parametrize(("value", "text"), [("hé", "hé"), (3, "3"), (None, "null"), ({"a": "é"}, '{"a": "é"}')])
def test_text_reads_as_it_is_and_everything_else_as_json(value, text):
    assert as_text(value) == text
