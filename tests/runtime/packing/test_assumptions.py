"""What estimates assume of packed requests is what the runtime writes, at four characters per token."""

import json

import pytest

from xcs_airflow.cost.assumptions import rows
from xcs_airflow.runtime.packs import ids_of, packed, packed_schema
from xcs_airflow.runtime.shared import Shared

CHARACTERS = 4
HEAD = "Which team handles this ticket? "
ITEM = "It prints nothing, and blinks."


def characters(items):
    """What stands in a request about so many items besides what they share and what they are."""
    ids = ids_of(items)
    messages, _ = packed(ids, [[{"role": "user", "content": HEAD + ITEM}] for _ in ids], Shared(0, len(HEAD)))
    return sum(len(message["content"]) for message in messages) - len(HEAD) - items * len(ITEM)


def answer_characters(items, **form):
    answer = {"answers": [{"id": name, "answer": "bug"} for name in ids_of(items)]}
    return len(json.dumps(answer, **form)) - items * len("bug")


def each(count):
    """How many characters one more item adds."""
    return (count(9) - count(2)) / 7


def test_a_request_has_its_sentences_and_the_schema_of_its_answer():
    sentences = (characters(9) - 9 * each(characters)) / CHARACTERS
    schema = len(json.dumps(packed_schema(None))) / CHARACTERS
    row = rows()["packed_request_tokens"]
    assert row.low == pytest.approx(sentences, abs=1)
    assert row.expected == pytest.approx(sentences + schema, abs=1)


def test_an_item_has_an_id_and_so_has_its_answer():
    row = rows()["packed_item_tokens"]
    assert row.expected == pytest.approx(each(characters) / CHARACTERS, abs=0.5)
    assert row.expected == pytest.approx(each(answer_characters) / CHARACTERS, abs=0.5)
    assert row.low == pytest.approx(each(lambda items: answer_characters(items, separators=(",", ":"))) / CHARACTERS, abs=0.5)
    assert row.high == pytest.approx(each(lambda items: answer_characters(items, indent=2)) / CHARACTERS, abs=0.5)
