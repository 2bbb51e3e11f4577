"""In what order tasks can run.

It knows edges between operations that share tasks; it does not know what a task costs or how it is written down.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xcs_airflow.errors import GraphError
from xcs_airflow.ir.graph import dependencies
from xcs_airflow.ir.grouping import task_key
from xcs_airflow.ir.operation import Operation

if TYPE_CHECKING:
    from rustworkx import PyDiGraph


class TaskOrder:
    """Tasks as numbers: one for every fused task, one for every other batch group, one for every other operation.

    Args:
        operations: All operations of a graph.

    Attributes:
        task_of: The task of every operation, by the operation's id.
        tasks: Every task, each after all it waits for.

    Raises:
        GraphError: Tasks wait for each other in a circle.
    """

    def __init__(self, operations: Sequence[Operation]) -> None:
        import rustworkx as rx  # noqa: PLC0415  # 10 ms that an import need not pay

        numbers: dict[tuple[str, str], int] = {}
        self.task_of = {operation.id: numbers.setdefault(task_key(operation), len(numbers)) for operation in operations}
        edges = {(self.task_of[need], self.task_of[op.id]) for op in operations for need in dependencies(op)}
        self._graph: PyDiGraph[int, None] = rx.PyDiGraph()
        self._graph.add_nodes_from(range(len(numbers)))
        self._graph.add_edges_from_no_data([(before, after) for before, after in sorted(edges) if before != after])
        try:
            self.tasks: Sequence[int] = rx.topological_sort(self._graph)
        except rx.DAGHasCycle:
            self._refuse(operations, [edge[0] for edge in rx.digraph_find_cycle(self._graph)])

    def before(self, task: int) -> Sequence[int]:
        """The tasks that one waits for."""
        return self._graph.predecessor_indices(task)

    def levels(self) -> dict[int, int]:
        """For every task, how many the longest chain before it has."""
        level: dict[int, int] = {}
        for task in self.tasks:
            level[task] = max((level[other] + 1 for other in self.before(task)), default=0)
        return level

    def _refuse(self, operations: Sequence[Operation], tasks: Sequence[int]) -> None:
        members = [next(operation for operation in operations if self.task_of[operation.id] == task) for task in tasks]
        cycle = " -> ".join(f"the task of {operation.id}" for operation in [*members, members[0]])
        raise GraphError.because("XCS205", cycle=cycle, operation=f"%{members[0].id}", place=members[0].source)
