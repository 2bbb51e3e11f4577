"""Which tasks are better started together: starts and billed minimums that are saved, against work that no longer runs side by side.

It knows tasks by their seconds, sizes and edges, and what a start costs; it does not know operations, calls or models.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import fsum
from typing import NamedTuple

from xcs_airflow.cost.compute import Platform
from xcs_airflow.cost.figures import Figure
from xcs_airflow.ir.operation import Resources

_HOUR_S = 3600
_LEAST_S = 1e-6
_ROUNDING = 1 + 1e-9


@dataclass(frozen=True)
class Piece:
    """A task as it stands.

    Attributes:
        needs: The pieces that must have ended before, by their places in the sequence; all come earlier.
        chains: Those among them that may come before it in the same process.
        kind: Only pieces of one kind may share a process; None shares with nobody.
        seconds: How long one start works.
        shards: How many starts it has.
        resources: What one start may use.
        variables: What stands in the environment of its process; one name has one value.
        level: How many pieces the longest chain before it has.
    """

    needs: tuple[int, ...]
    chains: frozenset[int]
    kind: object
    seconds: Figure
    shards: int
    resources: Resources
    variables: Mapping[str, str]
    level: int


@dataclass
class Unit:
    """Pieces that are started together, one after the other.

    Attributes:
        members: By their places, in order.
        needs: The pieces outside that it waits for.
        seconds: How long one start works.
        high_s: How long at worst.
        resources: What satisfies every member.
        shards: How many starts it has.
        variables: What stands in the environment of its process.
        readers: The pieces outside that wait for it.
        ends_s: When it ends, in seconds since the run began.
        gained_s: How much earlier what waits for it can begin; negative when it must wait longer.
        refused: Why the last unit that was tried does not join it.
    """

    members: list[int]
    needs: set[int]
    seconds: float
    high_s: float
    resources: Resources
    shards: int
    variables: Mapping[str, str]
    readers: set[int] = field(default_factory=set)
    ends_s: float = 0.0
    gained_s: float = 0.0
    refused: str = ""


@dataclass(frozen=True)
class Bill:
    """What a way of starting tasks comes to.

    Attributes:
        seconds: From the first start to the last end.
        usd: What the starts cost together in US dollars; None when nobody knows.
    """

    seconds: float
    usd: float | None


class Rate(NamedTuple):
    """What seconds of one size come to, looked up once.

    Attributes:
        start_s: Until the process works.
        billed_start_s: How many of them are billed, or hold a worker.
        usd_per_s: What one second costs in US dollars; None when nobody knows.
    """

    start_s: float
    billed_start_s: float
    usd_per_s: float | None


@dataclass
class Fusion:
    """Tasks of a run on one platform, and which of them share a start.

    Attributes:
        platform: What starts cost.
        pieces: The tasks, in an order that respects their needs.
        may_wait: Whether it may take longer, when more seconds of machines are saved than lost.
        most: The most pieces in one start: what fails is started again together.
    """

    platform: Platform
    pieces: Sequence[Piece]
    may_wait: bool
    most: int
    _unit_of: dict[int, Unit] = field(default_factory=dict)
    _readers: dict[int, set[int]] = field(default_factory=dict)
    _rates: dict[tuple[float, int, int, str | None], Rate] = field(default_factory=dict)

    def units(self) -> list[Unit]:
        """What is started together, by level: first siblings, then each with what only it waits for.

        A unit that is joined has no readers yet outside of what it joins, so no circle can close.
        """
        levels: dict[int, list[int]] = {}
        for place, piece in enumerate(self.pieces):
            levels.setdefault(piece.level, []).append(place)
            for need in piece.needs:
                self._readers.setdefault(need, set()).add(place)
        for level in sorted(levels):
            for unit in self._siblings(levels[level]):
                self._with_what_it_waits_for(unit)
        return list({id(unit): unit for unit in self._unit_of.values()}.values())

    def bill(self, units: Iterable[Unit]) -> Bill:
        """What units come to."""
        found = list(units)
        costs = [self._usd(unit) for unit in found]
        known = [cost for cost in costs if cost is not None]
        return Bill(max((unit.ends_s for unit in found), default=0.0), fsum(known) if len(known) == len(costs) else None)

    def apart(self) -> list[Unit]:
        """Every piece in a start of its own."""
        alone: dict[int, Unit] = {}
        for place in range(len(self.pieces)):
            alone[place] = self._alone(place)
            alone[place].ends_s = self._ends(alone[place], (alone[need] for need in self.pieces[place].needs))
        return list(alone.values())

    def usd_saved(self, unit: Unit) -> float | None:
        """What a unit saves against a start for each of its pieces, in US dollars; None when nobody knows."""
        costs = [self._usd(each) for each in (unit, *(self._alone(place) for place in unit.members))]
        known = [cost for cost in costs if cost is not None]
        return fsum(known[1:]) - known[0] if len(known) == len(costs) else None

    def _siblings(self, places: Sequence[int]) -> list[Unit]:
        """The pieces of one level, those of one kind that wait for the same together where it pays."""
        bundles: dict[tuple[object, frozenset[int]], Unit] = {}
        found: list[Unit] = []
        for place in sorted(places, key=lambda place: self.pieces[place].seconds.expected):
            unit = self._alone(place)
            unit.readers = self._readers.get(place, set())
            unit.ends_s = self._ends(unit, self._before(unit))
            self._unit_of[place] = unit
            kind = self.pieces[place].kind
            key = (kind, frozenset(id(other) for other in self._before(unit)))
            bundle = bundles.get(key) if kind is not None else None
            readers = [self._readers.get(member, set()) for member in (*(bundle.members if bundle else ()), place)]
            latest = max if all(each == readers[0] for each in readers) else min
            if bundle is None or not self._joined(bundle, unit, latest([bundle.ends_s, unit.ends_s])):
                bundles[key] = unit
                found.append(unit)
        return found

    def _with_what_it_waits_for(self, unit: Unit) -> None:
        """Join a unit to those that nobody else waits for, the one that ends last first, as long as it pays."""
        while True:
            candidates = sorted(self._before(unit), key=lambda other: (-other.ends_s, other.members[0]))
            for other in candidates[: self.most]:
                if self._is_only_for(other, unit) and self._joined(other, unit, unit.ends_s):
                    unit = other
                    break
            else:
                return

    def _is_only_for(self, other: Unit, unit: Unit) -> bool:
        """Whether a unit may come before another in one process, and nobody else waits for it."""
        kind, own, before = self.pieces[unit.members[0]].kind, set(unit.members), set(other.members)
        if kind is None or kind != self.pieces[other.members[0]].kind:
            return False
        if not other.readers <= own:
            return False
        return all(need in self.pieces[place].chains for place in own for need in self.pieces[place].needs if need in before)

    def _joined(self, first: Unit, second: Unit, ended_s: float) -> bool:
        """Add the second to the first, if it pays.

        Args:
            first: Works first.
            second: Works after it.
            ended_s: When they would have ended apart.
        """
        both = Unit(
            [*first.members, *second.members],
            (first.needs | second.needs) - set(first.members),
            first.seconds + second.seconds,
            first.high_s + second.high_s,
            largest(first.resources, second.resources),
            first.shards,
            {**first.variables, **second.variables},
        )
        both.ends_s = self._ends(both, self._before(both))
        refused = self._why_not(both, first, second, both.ends_s - ended_s)
        if refused:
            first.refused = second.refused = refused
            return False
        both.gained_s = first.gained_s + second.gained_s + ended_s - both.ends_s
        both.readers = (first.readers | second.readers) - set(both.members)
        vars(first).update(vars(both))
        self._unit_of.update(dict.fromkeys(first.members, first))
        return True

    def _why_not(self, both: Unit, first: Unit, second: Unit, lost_s: float) -> str:
        longest = self.platform.longest_s(both.resources)
        if len(both.members) > self.most:
            return f"a start with {self.most} tasks is full"
        if any(first.variables.get(name, value) != value for name, value in second.variables.items()):
            return "they give one environment variable different values"
        if longest is not None and both.high_s > longest:
            return f"together they may take {both.high_s:,.0f} s, and one start may take {longest:,.0f} s"
        costs = [self._usd(unit) for unit in (both, first, second)]
        if costs[0] is not None and costs[1] is not None and costs[2] is not None and costs[0] > (costs[1] + costs[2]) * _ROUNDING:
            return "together they would cost more, because the smaller would use the size of the larger"
        saved_s = self._billed_s(first) + self._billed_s(second) - self._billed_s(both)
        if lost_s > _LEAST_S and (not self.may_wait or saved_s <= lost_s):
            return f"together they would end {lost_s:,.0f} s later, and save {max(saved_s, 0):,.0f} s of machines"
        return ""

    def _alone(self, place: int) -> Unit:
        piece = self.pieces[place]
        seconds = piece.seconds
        return Unit([place], set(piece.needs), seconds.expected, seconds.high, piece.resources, piece.shards, piece.variables)

    def _before(self, unit: Unit) -> list[Unit]:
        """The units that one waits for, each once."""
        return list({id(self._unit_of[need]): self._unit_of[need] for need in sorted(unit.needs)}.values())

    def _ends(self, unit: Unit, before: Iterable[Unit]) -> float:
        return max((other.ends_s for other in before), default=0.0) + self._rate(unit.resources).start_s + unit.seconds

    def _billed_s(self, unit: Unit) -> float:
        """Seconds that all its starts are billed for; steps of rounding, of a second at most, are not worth their time here."""
        return unit.shards * max(self.platform.min_billed_s, unit.seconds + self._rate(unit.resources).billed_start_s)

    def _usd(self, unit: Unit) -> float | None:
        per_second = self._rate(unit.resources).usd_per_s
        return None if per_second is None else self._billed_s(unit) * per_second

    def _rate(self, resources: Resources) -> Rate:
        key = (resources.cpu, resources.memory_mib, resources.gpu, resources.gpu_type)
        if key not in self._rates:
            start_s, per_hour = self.platform.start_of(resources).expected, self.platform.usd_per_h(resources)
            usd_per_s = None if per_hour is None else float(per_hour) / _HOUR_S
            self._rates[key] = Rate(start_s, self.platform.billed_start_of(resources), usd_per_s)
        return self._rates[key]


def largest(first: Resources, second: Resources) -> Resources:
    """What satisfies both needs, one after the other; GPUs are the same in both or in neither."""
    if first.cpu >= second.cpu and first.memory_mib >= second.memory_mib:
        return first
    return first.model_copy(update={"cpu": max(first.cpu, second.cpu), "memory_mib": max(first.memory_mib, second.memory_mib)})
