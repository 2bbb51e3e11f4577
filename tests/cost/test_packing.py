"""Tokens of requests about many items."""

import pytest

from xcs_airflow.cost.assumptions import Assumed
from xcs_airflow.cost.figures import Figure
from xcs_airflow.cost.packing import packed, shared_tokens
from xcs_airflow.cost.tokens import call_tokens, schema_tokens
from xcs_airflow.ir import BatchPolicy, LLMMetadata, LLMOperation, Ref
from xcs_airflow.values import Hole, Message, Prompt

ITEM = {"x": Figure.exactly(50)}
PACK = 10
HEAD = "Which team handles this? " * 16
TEAM = {"enum": ["billing", "bug", "another team, which nobody has thought of so far"], "type": "string"}


def requests(*parts, **fields):
    """The input tokens of one request about one item, and of one about many."""
    operation = LLMOperation(
        id="ask",
        inputs={"x": Ref(operation="load")},
        map_over=("x",),
        prompt=Prompt(messages=(Message(parts=parts),)),
        metadata=LLMMetadata(model="openai/gpt-4.1-mini", max_tokens=8),
        batch=BatchPolicy(group="g", mechanism="packed", pack_size=PACK),
        **fields,
    )
    alone = call_tokens(operation, lambda: ITEM, Assumed())
    together = packed(operation, alone, shared_tokens(operation, ITEM), Assumed())
    return operation, alone.input.expected, together.input.expected


def test_what_stands_before_the_items_is_sent_once_and_what_stands_after_them_with_each():
    _, _, nothing = requests(Hole(input="x"))
    _, _, before = requests(HEAD, Hole(input="x"))
    _, _, after = requests(Hole(input="x"), HEAD)
    assert before - nothing == len(HEAD) / 4
    assert after - nothing == PACK * len(HEAD) / 4


def test_a_schema_is_sent_once():
    _, alone, together = requests(HEAD, Hole(input="x"))
    typed, typed_alone, typed_together = requests(HEAD, Hole(input="x"), output_schema=TEAM)
    size = schema_tokens(typed).expected
    assert size > 20
    assert typed_alone - alone == pytest.approx(size, abs=1)
    assert typed_together - together == pytest.approx(size, abs=PACK)
