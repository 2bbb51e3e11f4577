"""One byte form for JSON, and a strict reader."""

import json
import re
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xcs_airflow.canonical import DocumentError, canonical_json, digest, load_json, pretty_document, pretty_json


class Colour(StrEnum):
    RED = "red"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=20,
)


@given(json_values)
def test_every_form_reads_back_as_the_same_value(value):
    assert load_json(canonical_json(value)) == value
    assert load_json(pretty_json(value)) == value


@given(json_values)
def test_the_pretty_form_is_utf8_and_has_no_hidden_line_ends(value):
    text = pretty_json(value)
    assert text.encode().decode() == text
    assert len(text.splitlines()) == text.count("\n")


@given(json_values)
def test_the_pretty_form_is_what_json_writes_with_an_indent(value):
    text = json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False)
    assert json.loads(pretty_json(value)) == json.loads(text)
    if text.isascii() and "\x7f" not in text:
        assert pretty_json(value) == text + "\n"


@pytest.mark.parametrize(
    "value", [{2: [], 1: {}}, (1, (2.5, True)), {"a": Colour.RED, "b": [Colour.RED]}, 1e16, 1e-7, [-0.0, 10**30, None]]
)
def test_the_pretty_form_takes_what_json_takes(value):
    assert pretty_json(value) == json.dumps(value, sort_keys=True, indent=2) + "\n"


@given(st.dictionaries(st.text(), json_values, max_size=4))
def test_a_document_reads_back_and_differs_from_the_pretty_form_in_exponents_only(value):
    text, pretty = pretty_document(value), pretty_json(value)
    assert load_json(text) == value
    if not re.search(r"\de[-+]?\d", pretty):
        assert text == pretty


@pytest.mark.parametrize("value", [{"a": 10**30}, {"a": "\ud800"}, {"\ud800": [1, {"b": 2**64}]}])
def test_a_document_takes_what_its_quick_writer_does_not(value):
    assert pretty_document(value) == pretty_json(value)


def test_key_order_does_not_change_the_digest():
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_json_cannot_hold_are_refused_when_writing(value):
    for write in (canonical_json, pretty_json):
        with pytest.raises(ValueError, match="JSON compliant"):
            write({"x": value})


def test_what_is_not_json_is_refused_when_writing():
    for write in (canonical_json, pretty_json):
        with pytest.raises(TypeError, match="set"):
            write({"x": [set()]})


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{"a": 1, "a": 2}', "XCS222"),
        ('[{"b": {"c": 1, "c": 1}}]', "XCS222"),
        ("NaN", "XCS220"),
        ("[-Infinity]", "XCS220"),
        ("{", "XCS220"),
        ("", "XCS220"),
        (b"\xff", "XCS220"),
        ("1" * 5000, "XCS220"),
        ("[" * 65 + "]" * 65, "XCS221"),
        ("[" * 100_000, "XCS221"),
    ],
)
def test_what_json_leaves_open_is_refused(text, code):
    with pytest.raises(DocumentError) as caught:
        load_json(text)
    assert caught.value.code == code


def test_a_document_over_the_size_limit_is_refused_before_it_is_read():
    with pytest.raises(DocumentError) as caught:
        load_json('"xxxxxxxxxx"', max_bytes=8)
    assert caught.value.facts == {"size": 12, "unit": "bytes", "limit": 8}


def test_brackets_inside_strings_do_not_count_as_depth():
    text = json.dumps(["[" * 500, '\\"[[[' * 50])
    assert load_json(text) == json.loads(text)
