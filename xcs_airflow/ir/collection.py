"""Which items belong together: the collection every operation returns, followed through map, flat_map and filter.

It knows keys and their origin; it does not know the items.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from xcs_airflow.ir.graph import Graph
from xcs_airflow.ir.operation import Operation
from xcs_airflow.values import Frozen, Ref, Value


class Collection(Frozen):
    """The key set of a list or of a mapped result.

    Two collections can be mapped together when one was filtered from the other, or when both are plain lists (whose lengths
    must then be equal, which only a run can tell).

    Attributes:
        origin: Who made the keys: an operation's id, or the name of an input that holds a plain list.
        filters: The filters applied since, in order.
        is_plain: Whether its keys are the positions 0, 1, 2, ... of a list.
        root: The plain list the keys descend from: equal roots mean equal shards.
    """

    origin: str
    filters: tuple[str, ...] = ()
    is_plain: bool = True
    root: str

    def joins(self, other: Collection) -> bool:
        """Whether items of both can be taken together."""
        if self.origin == other.origin:
            shorter = min(len(self.filters), len(other.filters))
            return self.filters[:shorter] == other.filters[:shorter]
        return self.is_plain and other.is_plain and not self.filters and not other.filters


def collections(graph: Graph) -> dict[str, Collection]:
    """The collection that every operation's result is (or would be, were it a list), by operation id."""
    found: dict[str, Collection] = {}
    for operation in graph.in_order():
        found[operation.id] = result_collection(operation, found)
    return found


def result_collection(operation: Operation, known: Mapping[str, Collection]) -> Collection:
    """The collection one operation returns, given those of what it reads."""
    if not operation.is_mapped:
        return Collection(origin=operation.id, root=operation.id)
    mapped = iterated(operation, known)
    if operation.collect == "map":
        return mapped
    if operation.collect == "filter":
        return mapped.model_copy(update={"filters": (*mapped.filters, operation.id)})
    return Collection(origin=operation.id, is_plain=False, root=mapped.root)


def iterated(operation: Operation, known: Mapping[str, Collection]) -> Collection:
    """The collection a mapped operation iterates: of those it takes together, the most filtered."""
    sources = mapped_sources(operation, known)
    return max(sources.values(), key=lambda source: len(source.filters))


def mapped_sources(operation: Operation, known: Mapping[str, Collection]) -> dict[str, Collection]:
    """The collection behind each input a mapped operation iterates, by input name."""
    names: Iterable[str] = (name for name in operation.map_over if name in operation.inputs)
    sources = {name: _source(name, operation.inputs[name], operation, known) for name in names}
    return sources or {"": Collection(origin=operation.id, root=operation.id)}


def _source(name: str, value: Value, operation: Operation, known: Mapping[str, Collection]) -> Collection:
    if isinstance(value, Ref) and not value.path and value.operation in known:
        return known[value.operation]
    origin = value.model_dump_json() if isinstance(value, Ref) else f"{operation.id}.{name}"
    return Collection(origin=origin, root=origin)
