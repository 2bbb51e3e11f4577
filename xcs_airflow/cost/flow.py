"""What flows along the edges of a graph: how many items, how many different ones, and how large each is.

It knows declared sizes and how map, flat_map and filter change them; it does not know calls, money or time.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

from xcs_airflow.canonical import canonical_json
from xcs_airflow.cost.assumptions import Assumed, rows
from xcs_airflow.cost.figures import Figure
from xcs_airflow.cost.history import Histories
from xcs_airflow.cost.tokens import text_tokens
from xcs_airflow.ir.collection import Collection, mapped_sources, result_collection
from xcs_airflow.ir.graph import Graph
from xcs_airflow.ir.operation import Operation
from xcs_airflow.values import Constant, ListOf, Parameter, RecordOf, Ref, Value, as_text


class Size(NamedTuple):
    """How large a result is.

    Attributes:
        items: How many items it has; None when it is no list, as far as known.
        distinct: How many different ones; None when nobody knows.
        tokens: Of one item, or of the result as a whole when it is no list.
        guessed_for: The operation whose result is that large only by assumption.
    """

    items: int | None
    distinct: int | None
    tokens: Figure
    guessed_for: str | None = None


class Runs(NamedTuple):
    """How often an operation runs.

    Attributes:
        items: Once for each of so many items; 1 when it is not mapped.
        distinct: How many different inputs it sees; None when nobody knows.
    """

    items: int
    distinct: int | None


class Result(NamedTuple):
    """What flows on from an operation.

    Attributes:
        size: How large its result is.
        collection: Which items it has.
    """

    size: Size
    collection: Collection


class Flow:
    """Sizes of all results, filled in topological order.

    Args:
        graph: Whose results.
        assumed: Takes note of what is guessed.
        histories: What earlier runs measured; what is declared about numbers of items goes before it.

    Attributes:
        results: What flows on from every operation so far, by its id.
    """

    def __init__(self, graph: Graph, assumed: Assumed, histories: Histories | None = None) -> None:
        self._histories = histories or Histories(None, assumed)
        self._defaults = {spec.name: spec.default for spec in graph.parameters if spec.has_default}
        self._assumed = assumed
        self.results: dict[str, Result] = {}
        self._collections: dict[str, Collection] = {}

    def runs(self, operation: Operation) -> Runs:
        """How often an operation runs; all it reads must have been added."""
        if not operation.is_mapped:
            return Runs(1, 1)
        sources = mapped_sources(operation, self._collections)
        sizes = {name: self._list_size(operation, operation.inputs[name]) for name in sources if name in operation.inputs}
        known = [size.items for size in sizes.values() if size.items is not None]
        items = min(known) if known else self._unknown_items(operation)
        distinct = self._measured_distinct(operation, items)
        if distinct is None:
            distinct = _together([(sources[name].origin, size.distinct) for name, size in sizes.items()])
        return Runs(items, None if distinct is None else min(distinct, items))

    def _measured_distinct(self, operation: Operation, items: int) -> int | None:
        """Of so many inputs, how many different ones earlier runs let expect, rounded up."""
        history = self._histories.of(operation)
        if history is None or history.distinct is None:
            return None
        different, asked = history.distinct
        return -(-items * different // asked)

    def input_tokens(self, operation: Operation) -> dict[str, Figure]:
        """The tokens of every input in one run."""
        return {name: self._tokens(operation, value, each=name in operation.map_over) for name, value in operation.inputs.items()}

    def add(self, operation: Operation, runs: Runs, answer: Figure | None = None) -> Size:
        """Take note of an operation's result.

        Args:
            operation: Whose result.
            runs: How often it runs.
            answer: The tokens of what one run returns; None when that is not known.
        """
        item = _guessed(operation) if answer is None else Size(None, None, answer)
        if operation.is_mapped:
            size = self._mapped_size(operation, runs, item)
        else:
            items = operation.items if operation.items is not None else self._histories.items(operation)
            part = item.tokens.times(1 / items) if answer is not None and items else item.tokens
            size = item._replace(items=items, distinct=operation.distinct_items, tokens=part)
        self.take(operation.id, Result(size, result_collection(operation, self._collections)))
        return size

    def take(self, operation_id: str, result: Result) -> None:
        """Take note of a result that is known already."""
        self.results[operation_id] = result
        self._collections[operation_id] = result.collection

    def _mapped_size(self, operation: Operation, runs: Runs, item: Size) -> Size:
        items = operation.items if operation.items is not None else ceil(runs.items * self._factor(operation))
        distinct = runs.distinct if operation.is_pure or operation.collect == "filter" else None
        if operation.collect == "filter":
            item = self._list_size(operation, operation.inputs[operation.map_over[0]])
        if distinct is not None and operation.collect != "map":
            distinct = min(items, ceil(distinct * items / max(runs.items, 1)))
        if operation.distinct_items is not None:
            distinct = operation.distinct_items
        return item._replace(items=items, distinct=distinct)

    def _factor(self, operation: Operation) -> float:
        """How many items of the result come from one item."""
        value = operation.inputs.get(operation.map_over[0])
        if operation.collect != "map" and isinstance(value, Ref):
            measured = self._histories.factor(operation, value.operation)
            if measured is not None:
                return measured
        if operation.collect == "filter":
            return self._assumed.use("filter_selectivity", operation.id).expected
        return self._assumed.use("flat_map_factor", operation.id).expected if operation.collect == "flat_map" else 1

    def _list_size(self, operation: Operation, value: Value) -> Size:
        """The size of a list that is iterated."""
        if isinstance(value, Ref) and not value.path:
            known = self.results.get(value.operation)
            return _guessed(operation) if known is None else known.size
        if isinstance(value, Constant) and isinstance(value.constant, list):
            return _known_list(value.constant)
        if isinstance(value, ListOf):
            return _guessed(operation)._replace(items=len(value.items))
        default = self._defaults.get(value.parameter) if isinstance(value, Parameter) else None
        if isinstance(default, list):
            self._assumed.use("default_parameter", operation.id)
            return _known_list(default)
        return _guessed(operation)

    def _unknown_items(self, operation: Operation) -> int:
        if operation.items is not None and operation.collect == "map":
            return operation.items
        measured = self._histories.rows(operation)
        if measured is not None:
            return measured
        return round(self._assumed.use("items_per_list", operation.id).expected)

    def _tokens(self, operation: Operation, value: Value, *, each: bool) -> Figure:
        """The tokens of a value inside a prompt: of one item when it is iterated, else of all of it."""
        if isinstance(value, ListOf | RecordOf) and not each:
            inner = value.items if isinstance(value, ListOf) else tuple(value.fields.values())
            return Figure.total(self._tokens(operation, item, each=False) for item in inner)
        if isinstance(value, Constant) and not each:
            return text_tokens(len(as_text(value.constant)))
        known = self.results.get(value.operation) if isinstance(value, Ref) else None
        size = known.size if known is not None else self._list_size(operation, value) if each else _guessed(operation)
        if size.guessed_for is not None:
            self._assumed.use("tokens_per_value", size.guessed_for)
        return size.tokens if each or size.items is None else size.tokens.times(size.items)


def _guessed(operation: Operation) -> Size:
    return Size(None, None, rows()["tokens_per_value"].figure, operation.id)


def _known_list(items: Sequence[object]) -> Size:
    mean_length = sum(len(as_text(item)) for item in items) / max(len(items), 1)
    return Size(len(items), len({canonical_json(item) for item in items}), text_tokens(mean_length))


def _together(parts: Sequence[tuple[str, int | None]]) -> int | None:
    """How many different combinations: what comes from the same list varies together, what does not varies apart."""
    widest: dict[str, int] = {}
    for origin, distinct in parts:
        if distinct is None:
            return None
        widest[origin] = max(widest.get(origin, 0), distinct)
    product = 1
    for distinct in widest.values():
        product *= distinct
    return product
