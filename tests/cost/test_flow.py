"""How many items reach an operation, and how many different ones."""

from __future__ import annotations

import pytest

from xcs_airflow.cost.assumptions import Assumed
from xcs_airflow.cost.figures import Figure
from xcs_airflow.cost.flow import Flow
from xcs_airflow.ir import Constant, Graph, ListOf, Operation, Parameter, ParameterSpec, RecordOf, Ref
from xcs_airflow.ir.graph import toposort

LOAD = Operation(id="load", func="a:b", items=40, distinct_items=10)


def each(name, of="load", *, also=None, **fields):
    value = Ref(operation=of) if isinstance(of, str) else of
    inputs = {"x": value} | ({"y": Ref(operation=also)} if also else {})
    return Operation(id=name, func="a:b", **{"inputs": inputs, "map_over": tuple(inputs), "pure": True, **fields})


def flow_of(*operations, parameters=()):
    assumed = Assumed()
    flow = Flow(Graph(operations, parameters=parameters), assumed)
    found = {}
    for operation in toposort(operations):
        runs = flow.runs(operation)
        found[operation.id] = runs, flow.add(operation, runs)
    return found, assumed, flow


def items(found, name):
    (runs, size) = found[name]
    return (*runs, size.items, size.distinct)


def test_items_and_repeats_flow_through_pure_maps():
    found, _, _ = flow_of(LOAD, each("a"), each("b", "a"))
    assert items(found, "a") == (40, 10, 40, 10)
    assert items(found, "b") == (40, 10, 40, 10)


def test_results_of_an_impure_map_may_all_differ():
    found, _, _ = flow_of(LOAD, each("a", pure=False), each("b", "a"))
    assert items(found, "a") == (40, 10, 40, None)
    assert items(found, "b") == (40, None, 40, None)


def test_a_filter_keeps_half_unless_told():
    found, assumed, _ = flow_of(LOAD, each("a", collect="filter"), each("b", collect="filter", items=30))
    assert items(found, "a") == (40, 10, 20, 5)
    assert items(found, "b") == (40, 10, 30, 8)
    assert assumed.sentences()[0].startswith("a filter")


def test_a_flat_map_keeps_the_number_unless_told():
    found, _, _ = flow_of(LOAD, each("a", collect="flat_map"), each("b", collect="flat_map", items=400), each("c", "b"))
    assert items(found, "a") == (40, 10, 40, 10)
    assert items(found, "b") == (40, 10, 400, 100)
    assert items(found, "c") == (400, 100, 400, 100)


def test_declared_repeats_beat_derived_ones():
    found, _, _ = flow_of(LOAD, each("a", distinct_items=3), each("b", "a"))
    assert items(found, "b") == (40, 3, 40, 3)


def test_what_comes_from_the_same_list_varies_together():
    found, _, _ = flow_of(LOAD, each("a"), each("b", also="a"))
    assert items(found, "b")[:2] == (40, 10)


def test_what_comes_from_different_lists_varies_apart():
    other = Operation(id="other", func="a:b", items=40, distinct_items=3)
    found, _, _ = flow_of(LOAD, other, each("a", also="other"))
    assert items(found, "a")[:2] == (40, 30)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (Constant(constant=["a", "b", "a"]), (3, 2)),
        (Parameter(parameter="list"), (3, 2)),
        (Parameter(parameter="free"), (100, None)),
        (ListOf(items=(Constant(constant=1), Ref(operation="load"))), (2, None)),
        (Ref(operation="load", path=("rows",)), (100, None)),
        ("unsized", (100, None)),
    ],
    ids=["constant", "default", "parameter", "list", "part", "unsized"],
)
def test_the_length_of_a_list_is_known_or_assumed(source, expected):
    parameters = [ParameterSpec(name="list", has_default=True, default=["x", "y", "x"]), ParameterSpec(name="free")]
    unsized = Operation(id="unsized", func="a:b")
    found, _, _ = flow_of(LOAD, unsized, each("a", source), parameters=parameters)
    assert items(found, "a")[:2] == expected


def test_a_map_that_declares_its_items_tells_the_length_of_its_list():
    found, assumed, _ = flow_of(Operation(id="load", func="a:b"), each("a", items=7))
    assert items(found, "a")[0] == 7
    assert assumed.sentences() == ()


def test_an_operation_that_is_not_mapped_runs_once():
    found, _, _ = flow_of(LOAD)
    assert items(found, "load") == (1, 1, 40, 10)


def test_a_prompt_with_a_whole_collection_has_the_tokens_of_all_items():
    both = RecordOf(fields={"one": Ref(operation="a"), "list": ListOf(items=(Constant(constant="x" * 8),))})
    inputs = {"one": Ref(operation="a"), "text": Constant(constant="x" * 8), "both": both}
    reader = Operation(id="read", func="a:b", inputs=inputs)
    assumed = Assumed()
    flow = Flow(Graph([LOAD, each("a"), reader]), assumed)
    flow.add(LOAD, flow.runs(LOAD))
    flow.add(each("a"), flow.runs(each("a")), Figure.exactly(5))
    found = flow.input_tokens(reader)
    assert found["one"].expected == 40 * 5
    assert found["text"].expected == 2
    assert found["both"].expected == 40 * 5 + 2
    assert assumed.sentences() == ()
    assert flow.input_tokens(each("b"))["x"].expected == 100
    assert "%load" in assumed.sentences()[0]


def test_a_list_that_one_answer_is_shares_the_tokens_of_the_answer():
    flow = Flow(Graph([LOAD]), Assumed())
    size = flow.add(LOAD, flow.runs(LOAD), Figure.exactly(80))
    assert (size.items, size.tokens.expected) == (40, 2)
