"""JSON on the wire: what pydantic's parser and encoder refuse is taken all the same, and everything else reads as Python's own reads it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xcs_airflow.runtime.models.json_bytes import dumped, parsed

DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec=None), max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(DOCUMENTS)
def test_what_is_written_reads_as_it_was(document):
    assert json.loads(dumped(document)) == document
    assert parsed(dumped(document)) == document
    assert parsed(json.dumps(document).encode()) == document


def test_nothing_is_written_between_the_parts():
    assert dumped({"a": [1, "é"], "b": None}) == '{"a":[1,"é"],"b":null}'.encode()
    assert dumped({"a": ["\ud800", 1]}) == b'{"a":["\\ud800",1]}'


@pytest.mark.parametrize("content", [b"", b"{", b"[1] 2", b"\xff", b"\xef\xbb\xbf1", b'"\x01"', b"<html>"])
def test_what_is_no_json_is_refused(content):
    with pytest.raises(ValueError, match=r"."):
        parsed(content)


def test_nesting_is_read_as_deep_as_python_reads_it():
    assert parsed(b"[" * 300 + b"]" * 300) == json.loads("[" * 300 + "]" * 300)
    with pytest.raises(RecursionError):
        parsed(b"[" * 100_000)
