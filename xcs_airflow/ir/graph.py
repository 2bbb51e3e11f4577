"""A workflow: operations, parameters, a result, and what its author wants of a run.

It knows its own order and identity; whether it is well formed is `check.verify`'s question, what it means is `executor.evaluate`'s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from operator import is_
from typing import Any, ClassVar, Literal, Self

from pydantic import ConfigDict

from xcs_airflow.canonical import canonical_json
from xcs_airflow.errors import GraphError
from xcs_airflow.ir.operation import Operation
from xcs_airflow.manifest import ParameterSpec
from xcs_airflow.values import CHECKS, Frozen, RecordOf, Ref, Value, references

Objective = Literal["cost", "latency", "balanced"]


class PipelinePolicy(Frozen):
    """What the author wants of every run.

    Attributes:
        schedule: Five-field cron expression; None runs on demand only.
        timezone: IANA name of the schedule's time zone.
        budget_usd: The most a run may cost in US dollars.
        deadline_s: The longest a run may take in seconds.
        optimize: What to prefer where money and time disagree.
        hour_usd: What an hour of a run is worth in US dollars where `optimize` is `balanced`.
        files: Data files that travel with the code, relative to the pipeline's folder.
        description: One line for people.
    """

    schedule: str | None = None
    timezone: str = "UTC"
    budget_usd: Decimal | None = None
    deadline_s: float | None = None
    optimize: Objective = "cost"
    hour_usd: Decimal = Decimal(1)
    files: tuple[str, ...] = ()
    description: str = ""


# There are several of every operation, so these are plain dataclasses, checked only when they are read.
@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a pass considered for one operation, and why it did or did not do it.

    Attributes:
        pass_name: Class name of the pass.
        operation: The operation's id.
        action: `applied` or `skipped`.
        reason: Why, in one sentence.
        saves_usd: Money it is expected to save per run; None when unknown.
        saves_s: Seconds it is expected to save per run; None when unknown.
        rule: Where the rule behind it comes from.
    """

    __pydantic_config__: ClassVar[ConfigDict] = CHECKS

    pass_name: str
    operation: str
    action: Literal["applied", "skipped"]
    reason: str
    saves_usd: Decimal | None = None
    saves_s: float | None = None
    rule: str = ""


class Graph:
    """An append-only directed acyclic graph of frozen operations.

    Nothing in it is ever changed or removed: `add_operation` appends, passes build new graphs with `replace`.

    Attributes:
        name: The pipeline's name.
        parameters: What a run may set.
        output: The value of the graph as a whole; None means the results of the operations nobody reads.
        policy: What the author wants of every run.
        decisions: What the passes did to it, in order.
        source: `file:line` where the pipeline was written.
    """

    __slots__ = ("_index", "_operations", "_order", "_sound", "decisions", "name", "output", "parameters", "policy", "source")

    def __init__(
        self,
        operations: Iterable[Operation] = (),
        *,
        name: str = "graph",
        parameters: Iterable[ParameterSpec] = (),
        output: Value | None = None,
        policy: PipelinePolicy | None = None,
        decisions: Iterable[Decision] = (),
        source: str | None = None,
    ) -> None:
        self._operations = list(operations)
        self._index = {operation.id: operation for operation in self._operations}
        self.name = name
        self.parameters = tuple(parameters)
        self.output = output
        self.policy = policy or PipelinePolicy()
        self.decisions = tuple(decisions)
        self.source = source
        self._order: tuple[Operation, ...] = ()
        self._sound: tuple[int, object, object, object] | None = None

    @property
    def is_sound(self) -> bool:
        """Whether it was found to be well formed, and has stayed as it was then."""
        return self._sound is not None and self._sound[0] == len(self) and all(map(is_, self._sound[1:], self._judged_by()[1:]))

    def take_for_sound(self) -> None:
        """Remember that it was found to be well formed."""
        self._sound = self._judged_by()

    def _judged_by(self) -> tuple[int, object, object, object]:
        """What decides whether it is well formed, beside its name and its decisions; operations are only ever added."""
        return (len(self), self.parameters, self.output, self.policy)

    def add_operation(self, operation: Operation) -> Ref:
        """Append an operation.

        Returns:
            A reference to its result, to be used as input of later operations.

        Raises:
            GraphError: The graph has an operation of that id already.
        """
        known = self._index.get(operation.id)
        if known is not None:
            places = ", ".join(op.source or "unknown" for op in (known, operation))
            raise GraphError.because("XCS202", name=operation.id, count=2, places=places, operation=operation.id, place=operation.source)
        self._operations.append(operation)
        self._index[operation.id] = operation
        return Ref(operation=operation.id)

    @property
    def operations(self) -> tuple[Operation, ...]:
        """Every operation, in the order it was added."""
        return tuple(self._operations)

    def in_order(self) -> tuple[Operation, ...]:
        """Every operation, each after all it reads, as `toposort` gives them; found once.

        Raises:
            GraphError: Some operations wait for each other.
        """
        if len(self._order) != len(self):
            self._order = toposort(self._operations)
        return self._order

    def replace(self, **changes: Any) -> Self:
        """A new graph with some of the constructor's arguments changed; operations are shared, not copied."""
        fields: dict[str, Any] = {
            "operations": self._operations,
            "name": self.name,
            "parameters": self.parameters,
            "output": self.output,
            "policy": self.policy,
            "decisions": self.decisions,
            "source": self.source,
        }
        replaced = type(self)(**{**fields, **changes})
        if self.is_sound and changes.keys() <= {"decisions", "source"}:
            replaced.take_for_sound()
        return replaced

    def __getitem__(self, operation_id: str) -> Operation:
        return self._index[operation_id]

    def __contains__(self, operation_id: object) -> bool:
        return operation_id in self._index

    def __iter__(self) -> Iterator[Operation]:
        return iter(self._operations)

    def __len__(self) -> int:
        return len(self._operations)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Graph):
            return NotImplemented
        mine = (self._operations, self.name, self.parameters, self.output, self.policy, self.decisions, self.source)
        return mine == (other._operations, other.name, other.parameters, other.output, other.policy, other.decisions, other.source)

    __hash__ = None  # type: ignore[assignment]  # append-only, so not a dict key

    def __str__(self) -> str:
        from xcs_airflow.ir.text import print_graph  # noqa: PLC0415  # text reads graphs

        return print_graph(self)

    def __repr__(self) -> str:
        return f"<Graph {self.name!r}: {len(self)} operations>"

    def result(self) -> Value:
        """The value of the graph: its output, or by default the results nobody reads."""
        if self.output is not None:
            return self.output
        read = {dependency for operation in self for dependency in dependencies(operation)}
        return RecordOf(fields={op.id: Ref(operation=op.id) for op in self if op.id not in read})

    def digest(self) -> str:
        """SHA-256 of what the graph computes and how: unchanged by comments, line numbers and recorded decisions."""
        from xcs_airflow.ir.identity import how_it_runs, what_it_computes  # noqa: PLC0415  # it knows calls, which build on this

        head = {
            "name": self.name,
            "parameters": [spec.model_dump(mode="json") for spec in self.parameters],
            "output": None if self.output is None else self.output.model_dump(mode="json"),
            "policy": self.policy.model_dump(mode="json", exclude={"description"}, exclude_defaults=True),
        }
        text = hashlib.sha256(canonical_json(head).encode())
        for operation in self:
            text.update(f",[{what_it_computes(operation)},{how_it_runs(operation)}]".encode())
        return text.hexdigest()


_DEPENDENCIES = "_dependencies"


def dependencies(operation: Operation) -> tuple[str, ...]:
    """The ids of the operations whose results one operation reads, each once, in writing order."""
    # Operations are frozen, but copies take over what is remembered here, so it is remembered of which values it was found.
    remembered = operation.__dict__.get(_DEPENDENCIES)
    if remembered is not None and remembered[0] is operation.inputs and remembered[1] is operation.when:
        needs: tuple[str, ...] = remembered[2]
        return needs
    found = _found(operation)
    operation.__dict__[_DEPENDENCIES] = (operation.inputs, operation.when, found)
    return found


def _found(operation: Operation) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for value in (*operation.inputs.values(), operation.when):
        if isinstance(value, Ref):  # as most inputs are
            found[value.operation] = None
        elif value is not None:
            found.update((ref.operation, None) for ref in references(value))
    return tuple(found)


def toposort(operations: Iterable[Operation]) -> tuple[Operation, ...]:
    """Operations in an order in which each follows all it reads; among the possible orders, the one nearest to the given.

    References to operations that are not among the given are ignored.

    Raises:
        GraphError: Some operations wait for each other; the message names one whole cycle.
    """
    ordered = tuple(operations)
    node_of = {operation.id: index for index, operation in enumerate(ordered)}
    edges = [(node_of[need], index) for index, op in enumerate(ordered) for need in dependencies(op) if need in node_of]
    if all(before < after for before, after in edges):
        return ordered
    return _sorted(ordered, edges)


def _sorted(ordered: Sequence[Operation], edges: list[tuple[int, int]]) -> tuple[Operation, ...]:
    import rustworkx as rx  # noqa: PLC0415  # 10 ms that `import xcs_airflow` need not pay

    graph: rx.PyDiGraph[int, None] = rx.PyDiGraph()
    graph.add_nodes_from(range(len(ordered)))
    graph.add_edges_from_no_data(edges)
    order = rx.lexicographical_topological_sort(graph, key=lambda index: f"{index:09d}")
    if len(order) < len(ordered):
        raise _cycle_error([ordered[start] for start, _ in rx.digraph_find_cycle(graph)])
    return tuple(ordered[index] for index in order)


def _cycle_error(cycle: list[Operation]) -> GraphError:
    names = " -> ".join(operation.id for operation in [*cycle, cycle[0]])
    return GraphError.because("XCS205", cycle=names, operation=f"%{cycle[0].id}", place=cycle[0].source)
