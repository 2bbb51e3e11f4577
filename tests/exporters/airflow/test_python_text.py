import ast
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xcs_exporters.airflow.python_text import Name, distinct_names, literal

TEXT = st.text(st.characters(), max_size=40)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4) | st.tuples(inner) | st.tuples(inner, inner),
    max_leaves=12,
)


@settings(deadline=None)
@given(VALUES)
def test_a_literal_is_one_ascii_line_that_evaluates_to_its_value(value):
    written = literal(value)
    assert written.isascii()
    assert written.isprintable()
    assert repr(ast.literal_eval(written)) == repr(value)


def test_a_literal_prefers_double_quotes():
    assert literal("it's") == '"it\'s"'
    assert literal("plain") == '"plain"'
    assert literal('say "hi"') == "'say \"hi\"'"
    assert literal('it\'s "hi"') == "'it\\'s \"hi\"'"


def test_durations_are_written_in_seconds():
    assert literal(timedelta(hours=2)) == "timedelta(seconds=7200)"
    assert literal({"a": timedelta(seconds=0.5)}) == '{"a": timedelta(seconds=0.5)}'


class Text(str):
    __slots__ = ()

    def __repr__(self):
        return "__import__('os')"


@pytest.mark.parametrize("value", [Text("x"), b"x", {1, 2}, object(), print, [object()], type("Number", (int,), {})(1)])
def test_a_value_of_another_type_has_no_literal(value):
    with pytest.raises(TypeError, match="has no literal"):
        literal(value)


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_what_json_cannot_hold_has_no_literal(value):
    with pytest.raises(ValueError, match="has no literal"):
        literal(value)


@pytest.mark.parametrize("text", ["class", "a b", "a.b", "1a", "", "a\n", "é", "\ufb01le", "a;b"])
def test_a_name_is_an_ascii_identifier(text):
    with pytest.raises(ValueError, match=r"^"):
        Name(text)


def test_variables_stay_near_to_their_ids_and_apart_from_each_other():
    texts = ["load", "Work-1", "work.1", "work_1", "class", "7up", "_x", "list", "task_list"]
    names = distinct_names(texts, reserved={"list"})
    assert [names[text].text for text in texts] == [
        *("load", "work_1", "work_1_2", "work_1_3"),
        *("task_class", "task_7up", "task__x", "task_list", "task_list_2"),
    ]


@settings(deadline=None)
@given(st.lists(TEXT, unique=True, max_size=20))
def test_variables_are_distinct_whatever_the_ids(texts):
    names = distinct_names(texts, reserved={"list", "task_list", "dag"})
    assert len({name.text for name in names.values()} - {"list", "task_list", "dag"}) == len(texts)
