"""Tokens of one call: declared, else counted, else assumed."""

from __future__ import annotations

import pytest

from xcs_airflow.cost.assumptions import Assumed
from xcs_airflow.cost.figures import Figure
from xcs_airflow.cost.tokens import call_tokens, text_tokens
from xcs_airflow.ir import Hole, LLMMetadata, LLMOperation, Message, Prompt

TICKET = Figure(low=10, expected=40, high=90, source="assumed")


def ask(text="x" * 40, *, schema=None, messages=1, func=None, **metadata):
    prompt = Prompt(messages=tuple(Message(parts=(text, Hole(input="ticket"))) for _ in range(messages)))
    body = {"prompt_func": func} if func else {"prompt": prompt}
    return LLMOperation(id="ask", metadata=LLMMetadata(model="openai/gpt-4.1-mini", **metadata), output_schema=schema, **body)


def tokens_of(operation):
    return call_tokens(operation, lambda: {"ticket": TICKET}, Assumed())


def ends(figure):
    return figure.low, figure.expected, figure.high


def test_declared_tokens_are_taken_as_they_are():
    found = tokens_of(ask(estimated_input_tokens=7, estimated_output_tokens=3, max_tokens=1))
    assert found == (Figure.exactly(7), Figure.exactly(3))


def test_a_prompt_is_counted_from_its_text_its_messages_and_its_inputs():
    """40 characters at 4 (3 to 6) per token, 4 (3 to 10) tokens around a message, and the ticket."""
    found = tokens_of(ask()).input
    assert ends(found) == (6 + 3 + 10, 10 + 4 + 40, 14 + 10 + 90)
    assert found.source == "template"


def test_an_input_counts_as_often_as_it_is_used():
    assert tokens_of(ask(messages=2)).input.expected == 2 * (10 + 4 + 40)


def test_a_schema_is_part_of_the_request():
    assert tokens_of(ask(schema={"type": "string", "enum": ["a", "b"]})).input.expected > tokens_of(ask()).input.expected


def test_of_a_prompt_function_only_the_inputs_are_known():
    found = tokens_of(ask(func="a:b")).input
    assert (found.expected, found.source) == (4 + 40, "assumed")


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, (1, 100, 4000)),
        ({"max_tokens": 8}, (1, 8, 8)),
        ({"max_tokens": 500}, (1, 100, 500)),
        ({"estimated_tokens": 300}, (1, 100, 300)),
        ({"estimated_tokens": 300, "estimated_input_tokens": 280}, (20, 20, 20)),
        ({"estimated_tokens": 10, "estimated_input_tokens": 280}, (0, 0, 0)),
    ],
)
def test_an_answer_is_no_longer_than_what_limits_it(metadata, expected):
    assert ends(tokens_of(ask(**metadata)).output) == expected


def test_of_a_declared_sum_the_input_is_what_the_answer_leaves():
    found = tokens_of(ask(estimated_tokens=300, max_tokens=50))
    assert ends(found.output) == (1, 50, 50)
    assert ends(found.input) == (250, 250, 299)
    assert found.input.source == "declared"


@pytest.mark.parametrize(
    ("schema", "most"),
    [
        ({"enum": ["billing", "bug", "other"]}, 3),
        ({"const": "yes"}, 2),
        ({"type": "boolean"}, 2),
        ({"type": "integer"}, 2),
        ({"type": "number"}, 4),
    ],
)
def test_a_small_schema_has_small_answers(schema, most):
    found = tokens_of(ask(schema=schema)).output
    assert 0 <= found.low <= found.expected <= found.high <= most
    assert found.source == "template"


@pytest.mark.parametrize("schema", [{"type": "object"}, {"type": ["string", "null"]}, {}])
def test_any_other_schema_has_answers_of_unknown_length(schema):
    assert tokens_of(ask(schema=schema)).output.source == "assumed"


def test_no_text_has_no_tokens():
    assert ends(text_tokens(0)) == (0, 0, 0)
