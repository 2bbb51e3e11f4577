"""Mapped calls: what is iterated, and the same meaning with values and without."""

from __future__ import annotations

import pytest

from xcs_airflow.authoring import each, op, whole
from xcs_airflow.errors import TraceError
from xcs_airflow.ir import Constant, Parameter, Ref

STEPS = """
@op
def load(path: str = "in") -> list[str]:
    return [path]

@op
def untyped():
    return []

@op
def config() -> dict[str, str]:
    return {}

@op
def parts(text: str) -> list[str]:
    return text.split()

@op
def is_long(text: str) -> bool:
    return len(text) > 3

ask = llm("m/m", "{a} {b}")
tell = llm("m/m", "{x}")

@pipeline
def flow(names: list[str], name: str = "n", anything=None):
    return BODY
"""


@pytest.fixture
def last(load):
    """The last operation of a pipeline that returns an expression."""
    return lambda body: load(STEPS.replace("BODY", body)).graph().operations[-1]


@pytest.mark.parametrize(
    ("body", "map_over"),
    [
        ("ask.map(a=load(), b='x')", ("a",)),
        ("ask.map(b=load(), a=load())", ("b", "a")),
        ("ask.map(a=['p', 'q'], b=config())", ("a",)),
        ("ask.map(a=names, b=name)", ("a",)),
        ("ask.map(a=('p', 'q'), b=1)", ("a",)),
        ("ask.map(a=(c for c in 'pq'), b=1)", ("a",)),
        ("ask.map(a=untyped(), b='x')", ("a",)),
        ("ask.map(a=anything, b=name)", ("a",)),
        ("ask.map(a=each(untyped()), b=whole(anything))", ("a",)),
        ("ask.map(a=load(), b=whole(['p', 'q']))", ("a",)),
        ("ask.map(a=load(), b=whole(load()))", ("a",)),
        ("ask.map(a=each(untyped()['list']), b='x')", ("a",)),
        ("tell.map(x=tell.map(x=load()))", ("x",)),
        ("tell.map(x=parts.flat_map(text=load()))", ("x",)),
        ("tell.map(x=is_long.filter(text=load()))", ("x",)),
        ("tell.map(x=parts.map(text=load())[0])", ("x",)),
        ("tell.map(x=[name, load()])", ("x",)),
    ],
)
def test_lists_are_iterated_and_everything_else_is_whole(last, body, map_over):
    assert map_over == last(body).map_over


def test_values_keep_their_kind_when_they_are_marked(last):
    operation = last("ask.map(a=each(names), b=whole(['p']))")

    assert {"a": Parameter(parameter="names"), "b": Constant(constant=["p"])} == operation.inputs


@pytest.mark.parametrize(("verb", "step"), [("flat_map", "parts"), ("filter", "is_long"), ("map", "parts")])
def test_the_verb_says_what_becomes_of_the_results(last, verb, step):
    operation = last(f"{step}.{verb}(text=load())")

    assert (verb, {"text": Ref(operation="load")}) == (operation.collect, operation.inputs)


@pytest.mark.parametrize(
    ("body", "name", "reason"),
    [
        ("ask.map(a='x', b='y')", "a", "it is not a list"),
        ("ask.map(a=name, b='y')", "a", "it is not a list"),
        ("ask.map(a=config(), b='y')", "a", "it is not a list"),
        ("ask.map(a=load(), b=each('text'))", "b", "it is not a list"),
        ("ask.map(a=load(), b=untyped())", "b", "its type does not say whether it is a list"),
        ("ask.map(a=untyped(), b=anything)", "a", "its type does not say whether it is a list"),
    ],
)
def test_what_cannot_be_iterated_is_named(last, body, name, reason):
    with pytest.raises(TraceError) as caught:
        last(body)
    finding = caught.value.findings[0]
    assert ("XCS106", f"ask cannot map over {name!r}: {reason}", f"flow.py:{STEPS.count(chr(10)) + 1}") == (
        finding.code,
        finding.message,
        finding.place,
    )
    assert finding.hint


def test_an_unknown_input_of_a_mapped_call_is_named(last):
    with pytest.raises(TraceError, match="no input named 'y'"):
        last("tell.map(y=load())")


@pytest.mark.parametrize(("body", "expected"), [("tell.filter(x=load())", "true or false"), ("is_long.flat_map(text=load())", "a list")])
def test_the_verb_and_the_result_must_fit(last, body, expected):
    with pytest.raises(TraceError) as caught:
        last(body)
    assert caught.value.code == "XCS112"
    assert expected in str(caught.value)


def test_marks_mean_nothing_in_a_single_call(last):
    with pytest.raises(TraceError, match="XCS104"):
        last("tell(each(names))")


@op
def add(a: int, b: int = 1) -> int:
    return a + b


@op
def up_to(a: int) -> list[int]:
    return list(range(a))


@op
def is_even(a: int) -> bool:
    return a % 2 == 0


@op
def total(a: list[int]) -> int:
    return sum(a)


def test_with_values_a_mapped_call_returns_a_list():
    assert add.map(a=[1, 2]) == [2, 3]
    assert add.map(a=[1, 2], b=[10, 20]) == [11, 22]
    assert add.map(a=(1, 2), b=10) == [11, 12]
    assert add.map(a=iter(range(2))) == [1, 2]
    assert total.map(a=each([[1, 2, 3], [6]])) == [6, 6]
    assert add.map(a=[]) == []


def test_with_values_flat_map_and_filter_do_what_they_say():
    assert up_to.flat_map(a=[1, 0, 2]) == [0, 0, 1]
    assert is_even.filter(a=[1, 2, 3, 4]) == [2, 4]


def test_items_that_were_filtered_meet_the_results_of_the_same_items():
    numbers = [1, 2, 3, 4]
    even = is_even.filter(a=numbers)

    assert add.map(a=even, b=add.map(a=[9, 19, 29, 39])) == [22, 44]


def test_lists_of_different_length_do_not_belong_together():
    with pytest.raises(TraceError, match="XCS106"):
        add.map(a=[1, 2], b=[1, 2, 3])


def test_with_values_nothing_to_iterate_is_an_error_too():
    with pytest.raises(TraceError, match="not a list"):
        add.map(a=1, b=2)
    with pytest.raises(TraceError, match="not a list"):
        add.map(a=whole([1]))


def test_with_values_marks_mean_nothing_in_a_single_call_either():
    with pytest.raises(TraceError, match="XCS104"):
        add(a=each([1]))
