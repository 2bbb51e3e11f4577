"""Graphs grow, sort and know their identity."""

import functools
import json
import sys

import pytest

from xcs_airflow.errors import GraphError
from xcs_airflow.ir import Graph, Operation, Ref, dependencies, toposort
from xcs_airflow.ir.check import check
from xcs_airflow.ir.graph import Decision


def op(operation_id, *needs, **fields):
    return Operation(id=operation_id, func="m:f", inputs={f"i{n}": Ref(operation=need) for n, need in enumerate(needs)}, **fields)


def test_adding_returns_a_reference_to_the_result():
    graph = Graph()
    ref = graph.add_operation(op("a"))
    graph.add_operation(op("b", ref.operation))
    assert [operation.id for operation in graph] == ["a", "b"]
    assert dependencies(graph["b"]) == ("a",)


def test_adding_an_id_twice_is_refused_with_both_places():
    graph = Graph([op("a", source="p.py:1")])
    with pytest.raises(GraphError, match=r"p\.py:1, p\.py:7"):
        graph.add_operation(op("a", source="p.py:7"))
    assert len(graph) == 1


def test_sorting_keeps_the_written_order_where_it_may():
    ordered = toposort([op("z"), op("late", "b"), op("b"), op("a")])
    assert [operation.id for operation in ordered] == ["z", "b", "late", "a"]


def test_a_chain_of_ten_thousand_sorts_without_recursion():
    chain = [op("0"), *(op(str(n), str(n - 1)) for n in range(1, 10_000))]
    assert toposort(reversed(chain)) == tuple(chain)


def test_replacing_shares_operations_and_leaves_the_original(graph):
    renamed = graph.replace(name="other")
    assert renamed.name == "other"
    assert graph.name == "small"
    assert all(mine is theirs for mine, theirs in zip(graph, renamed, strict=True))


def test_the_digest_ignores_places_descriptions_and_decisions(graph):
    moved = [operation.model_copy(update={"source": "elsewhere.py:99", "description": "x"}) for operation in graph]
    decided = [Decision(pass_name="P", operation="a", action="applied", reason="r")]
    assert graph.replace(operations=moved, decisions=decided).digest() == graph.digest()


def test_the_digest_changes_with_what_is_computed(graph):
    first, *rest = graph
    changed = first.model_copy(update={"func": "pipeline:other"})
    assert graph.replace(operations=[changed, *rest]).digest() != graph.digest()


def test_the_order_is_found_once_and_again_when_an_operation_was_added():
    graph = Graph([op("b", "a"), op("a")])
    first = graph.in_order()
    assert [operation.id for operation in first] == ["a", "b"]
    assert graph.in_order() is first
    graph.add_operation(op("c", "b"))
    assert [operation.id for operation in graph.in_order()] == ["a", "b", "c"]


def test_what_was_found_to_be_sound_stays_so_until_it_changes(graph):
    assert not graph.is_sound
    assert check(graph).is_sound
    assert graph.replace(decisions=[Decision(pass_name="P", operation="a", action="applied", reason="r")]).is_sound
    assert not graph.replace(output=Ref(operation="nobody")).is_sound
    graph.add_operation(op("late", "nobody"))
    assert not graph.is_sound
    with pytest.raises(GraphError, match="nobody"):
        check(graph)


def test_without_an_output_the_result_is_what_nobody_reads():
    graph = Graph([op("a"), op("b", "a"), op("c", "a")])
    assert list(graph.result().fields) == ["b", "c"]


def test_a_callable_becomes_its_address():
    assert Operation(id="a", func=json.dumps).func == "json:dumps"


class Holder:
    @staticmethod
    def method():
        """Found through its class."""


def test_a_nested_name_becomes_a_dotted_address(monkeypatch):
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__, type(sys)("m")))
    monkeypatch.setattr(sys.modules[__name__], "Holder", Holder, raising=False)
    assert Operation(id="a", func=Holder.method).func == f"{__name__}:Holder.method"


def local_function():
    def inner():
        """Nobody else can find it."""

    return inner


@pytest.mark.parametrize(
    ("func", "reason"),
    [
        (lambda: 1, "a lambda"),
        (local_function(), "inside another function"),
        (functools.partial(json.dumps), "no name"),
    ],
)
def test_what_a_worker_cannot_find_is_refused(func, reason):
    with pytest.raises(GraphError, match=reason):
        Operation(id="a", func=func)


def test_a_function_of_the_running_script_is_refused(monkeypatch):
    monkeypatch.setattr(local_function, "__module__", "__main__")
    with pytest.raises(GraphError, match="the script that is running"):
        Operation(id="a", func=local_function)
