"""The longest ways through a graph, in seconds, while it is decided how long each operation takes.

It knows operations and seconds; it does not know why one takes as long as it does. Of thousands of decisions few change a way that
matters: what was settled is worked in when somebody asks for a way so long that it could make a difference, and only as far as it does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from heapq import heapify, heappop, heappush

from xcs_airflow.ir.graph import dependencies
from xcs_airflow.ir.operation import Operation

_DOUBT_S = 1e-3
"""Sums of seconds in another order may differ, by less than this."""


class Ways:
    """The longest ways through a graph, in the seconds that each operation may take.

    Args:
        ordered: Every operation, each after all it reads.
        seconds: For each of them.
    """

    def __init__(self, ordered: Sequence[Operation], seconds: Mapping[str, float]) -> None:
        self._ordered = ordered
        self._seconds = dict(seconds)
        self._owed: dict[str, float] = {}
        self._longer_s = self._shorter_s = 0.0

    def through(self, names: Iterable[str], seconds: float) -> float:
        """How long the longest way through one of some operations is, if each of them takes so many seconds."""
        self._work_in()
        return self._known(names, seconds)

    def fits(self, name: str, seconds: float, limit_s: float) -> bool:
        """Whether the longest way through an operation is no longer than so, if it takes so many seconds."""
        known = self._known([name], seconds)
        if known + self._longer_s <= limit_s - _DOUBT_S:
            return True
        if known - self._shorter_s > limit_s + _DOUBT_S:
            return False
        return self.through([name], seconds) <= limit_s

    def settle(self, names: Iterable[str], seconds: float) -> None:
        """From now on these operations take so many seconds."""
        for name in names:
            more = seconds - self._owed.get(name, self._seconds[name])
            self._longer_s, self._shorter_s = self._longer_s + max(more, 0.0), self._shorter_s + max(-more, 0.0)
            self._owed[name] = seconds

    @cached_property
    def _sides(self) -> tuple[_Longest, _Longest]:
        """The longest ways to every operation and from it; where there is no deadline, nobody asks for them."""
        needs = {operation.id: dependencies(operation) for operation in self._ordered}
        readers: dict[str, list[str]] = {name: [] for name in needs}
        for name, needed in needs.items():
            for need in needed:
                readers[need].append(name)
        before = _Longest(list(needs), needs, readers, self._seconds)
        return before, _Longest(list(reversed(needs)), readers, needs, self._seconds)

    def _known(self, names: Iterable[str], seconds: float) -> float:
        before, after = self._sides
        return max((before.ways[name] + seconds + after.ways[name] for name in names), default=0.0)

    def _work_in(self) -> None:
        if self._owed:
            sides = self._sides
            self._seconds.update(self._owed)
            for side in sides:
                side.measure(self._owed)
            self._owed, self._longer_s, self._shorter_s = {}, 0.0, 0.0


class _Longest:
    """The longest way to every operation, from one side.

    Args:
        ordered: Every operation, each after all that comes before it.
        before: For each, what comes right before it.
        behind: For each, what comes right behind it.
        seconds: How long each takes, now and whenever it is measured.

    Attributes:
        ways: For each, the seconds of the longest way to it.
    """

    def __init__(
        self,
        ordered: Sequence[str],
        before: Mapping[str, Sequence[str]],
        behind: Mapping[str, Sequence[str]],
        seconds: Mapping[str, float],
    ) -> None:
        self._place = {name: place for place, name in enumerate(ordered)}
        self._ordered = ordered
        self._behind = behind
        self._seconds = seconds
        self.ways: dict[str, float] = {}
        self._ends: dict[str, list[tuple[float, str]]] = {}
        for name in ordered:
            self._ends[name] = [(-self._end(other), other) for other in before[name]]
            heapify(self._ends[name])
            self.ways[name] = self._longest(name)

    def measure(self, changed: Iterable[str]) -> None:
        """Find the ways anew, where operations that take longer or shorter than before make a difference."""
        waiting = sorted(self._place[name] for name in changed)
        known = set(waiting)
        while waiting:
            name = self._ordered[heappop(waiting)]
            for other in self._behind[name]:
                heappush(self._ends[other], (-self._end(name), name))
                longest = self._longest(other)
                if longest != self.ways[other]:
                    self.ways[other] = longest
                    if self._place[other] not in known:
                        known.add(self._place[other])
                        heappush(waiting, self._place[other])

    def _longest(self, name: str) -> float:
        """The last end of what comes before an operation. Ends that are out of date are forgotten: those that count now come again."""
        ends = self._ends[name]
        while ends and -ends[0][0] != self._end(ends[0][1]):
            heappop(ends)
        return -ends[0][0] if ends else 0.0

    def _end(self, name: str) -> float:
        return self.ways[name] + self._seconds[name]
