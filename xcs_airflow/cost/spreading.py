"""Into how many shards lists are spread: each short, none nearly empty, and no more than what providers allow keeps busy.

It knows calls, seconds and limits; it does not know groups, or how a graph is rewritten.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

from xcs_airflow.cost.simulation import RateLimit
from xcs_airflow.ir.graph import Graph
from xcs_airflow.ir.grouping import tasks
from xcs_airflow.ir.llm_ops import LLMOperation
from xcs_airflow.ir.operation import Operation


class Load(NamedTuple):
    """What the calls of one operation keep busy.

    Attributes:
        calls: How many there are.
        tokens: Of all of them, input and output together.
        busy_s: How long they take in one shard, with as many in flight as it may have.
    """

    calls: int
    tokens: float
    busy_s: float


@dataclass(frozen=True)
class Spread:
    """How lists are spread.

    Attributes:
        shard_s: A shard should not take longer, in seconds.
        min_calls: A shard should not have fewer calls.
        most: The most shards.
        headroom: Shards can have so many times the calls in flight that what a provider allows keeps busy.
    """

    shard_s: float
    min_calls: int
    most: int
    headroom: float

    def shards(
        self,
        graph: Graph,
        loads: Mapping[str, Load],
        levels: Mapping[str, int],
        roots: Mapping[str, str],
        limits: Mapping[str, RateLimit],
    ) -> tuple[dict[str, int], set[str]]:
        """The shards of every mapped call: those given for its list or its task, else what the busiest level of its list needs.

        Args:
            graph: Whose calls.
            loads: What each call that is waited for live keeps busy, by operation.
            levels: For every operation, how many tasks the longest chain before its own has.
            roots: For every mapped operation, the list its items descend from.
            limits: What providers allow, by their names.

        Returns:
            The shards by operation, and the lists that have fewer of them than they would without limits.
        """
        mapped = [operation for operation in graph if isinstance(operation, LLMOperation) and operation.is_mapped]
        together: dict[tuple[str, int], list[LLMOperation]] = {}
        for operation in mapped:
            if operation.id in loads:
                together.setdefault((roots[operation.id], levels[operation.id]), []).append(operation)
        needed: dict[str, int] = {}
        limited: set[str] = set()
        for (root, _), calls in together.items():
            wanted = self._wanted([loads[call.id] for call in calls])
            useful = self._useful(calls, loads, limits)
            needed[root] = max(needed.get(root, 1), wanted if useful is None else min(wanted, useful))
            if useful is not None and useful < wanted:
                limited.add(root)
        given = {roots[operation.id]: operation.shards for operation in graph if operation.is_mapped and operation.shards}
        needed |= given
        found = {operation.id: operation.shards or needed.get(roots[operation.id], 1) for operation in mapped}
        for members in tasks(graph):
            if len(members) > 1:
                found |= _shared_by_hand(members, roots, found)
        return found, limited - given.keys()

    def _wanted(self, loads: Sequence[Load]) -> int:
        seconds = sum(load.busy_s for load in loads)
        return max(1, min(ceil(seconds / self.shard_s), max(load.calls for load in loads) // self.min_calls, self.most))

    def _useful(self, calls: Sequence[LLMOperation], loads: Mapping[str, Load], limits: Mapping[str, RateLimit]) -> int | None:
        """With how many shards no provider's calls wait for anything but its limit; None when one of them has none."""
        useful = 1
        for provider in {call.metadata.provider_name for call in calls}:
            if provider not in limits:
                return None
            of_it = [loads[call.id] for call in calls if call.metadata.provider_name == provider]
            served_s = limits[provider].seconds(sum(load.calls for load in of_it), sum(load.tokens for load in of_it))
            if served_s:
                useful = max(useful, ceil(self.headroom * sum(load.busy_s for load in of_it) / served_s))
        return useful


def _shared_by_hand(members: Sequence[Operation], roots: Mapping[str, str], shards: Mapping[str, int]) -> dict[str, int]:
    """The shards of operations that share a task already: those given for one of them, else as many as all of them may have."""
    given = next((operation.shards for operation in members if operation.shards), None)
    of_one_list = len({roots.get(operation.id) for operation in members}) == 1 and all(operation.id in shards for operation in members)
    count = given or (shards[members[0].id] if of_one_list else 1)
    return {operation.id: operation.shards or count for operation in members if operation.is_mapped}
