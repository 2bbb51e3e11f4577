"""What the passes over one pipeline for several targets, or with several policies, have in common, so that it is computed once.

It knows what was computed for which graph; it does not know what that is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from xcs_airflow.cost.estimate import Estimator
from xcs_airflow.ir.graph import Graph

Computed = TypeVar("Computed")


class Shared:
    """What contexts share that differ in nothing but their targets, or in policies that their graphs have as well.

    Attributes:
        estimator: Makes their estimates; None until the first one is asked for.
    """

    def __init__(self) -> None:
        self.estimator: Estimator | None = None
        self._computed: list[tuple[object, Graph, object]] = []

    def once(self, by: object, graph: Graph, compute: Callable[[], Computed]) -> Computed:
        """What is computed for a graph, now or earlier.

        Args:
            by: Who computes it; the same object computes the same.
            graph: From what.
            compute: Computes it, without a look at the target.
        """
        for known_by, known_graph, known in self._computed:
            if known_by is by and known_graph is graph:
                return cast("Computed", known)
        computed = compute()
        self._computed.append((by, graph, computed))
        return computed
