"""How long a run takes: its tasks are played through, each beginning as soon as all it needs is there.

It knows tasks as work with an order, places for them, and the rates of those they call; it does not know operations or prices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import ceil, sqrt
from statistics import NormalDist
from typing import NamedTuple, Protocol, Self

from pydantic import Field, model_validator

from xcs_airflow.values import Frozen

_MANY = 10
"""Of so many calls one is expected to take as long as the 90th percentile."""


class RateLimit(Frozen):
    """What a provider allows one account.

    Attributes:
        requests_per_minute: Calls that may begin in a minute; None means no limit.
        tokens_per_minute: Tokens of input and output together; None means no limit.
    """

    requests_per_minute: float | None = Field(default=None, gt=0)
    tokens_per_minute: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.requests_per_minute is None and self.tokens_per_minute is None:
            raise ValueError("it says neither requests_per_minute nor tokens_per_minute")
        return self

    def seconds(self, calls: float, tokens: float) -> float:
        """The least time in which so many calls with so many tokens together can be made."""
        by_requests = calls * 60 / self.requests_per_minute if self.requests_per_minute else 0.0
        by_tokens = tokens * 60 / self.tokens_per_minute if self.tokens_per_minute else 0.0
        return max(by_requests, by_tokens)


@dataclass(frozen=True, slots=True)
class Calls:
    """The calls of one kind that a task makes.

    Attributes:
        count: How many, in all shards together.
        latency_s: Seconds of one.
        tokens: Of one call, input and output together.
        provider: Who is called.
        slow_s: What one in ten of them takes or more, where it was measured; None where nobody knows.
    """

    count: float
    latency_s: float
    tokens: float = 0.0
    provider: str = ""
    slow_s: float | None = None


class Stage(NamedTuple):
    """Calls that are in flight side by side.

    Attributes:
        calls: All of them, by kind.
        in_flight: How many calls of one process wait at a time.
    """

    calls: tuple[Calls, ...]
    in_flight: int = 1

    def seconds(self, shards: int) -> float:
        """How long they take when nobody limits them: in full waves, spread over shards by the hashes of their items.

        The last wave takes as long as its slowest call: where it may have ten, as long as one in ten takes.
        """
        count = sum(kind.count for kind in self.calls)
        if not count:
            return 0.0
        longest = max(kind.latency_s for kind in self.calls if kind.count)
        mean = sum(kind.count * kind.latency_s for kind in self.calls) / count
        of_one = fullest_shard(count, shards)
        slowest = 0.0
        if min(of_one, self.in_flight) >= _MANY:
            slowest = max(0.0, max(kind.slow_s or 0.0 for kind in self.calls if kind.count) - longest)
        return max(longest, ceil(of_one / self.in_flight) * mean) + slowest

    def served_s(self, limits: Mapping[str, RateLimit]) -> float:
        """The least time in which providers serve them, if nobody else asks."""
        if not limits:
            return 0.0
        rates = ((kind, limits.get(kind.provider)) for kind in self.calls)
        seconds: dict[str, float] = {}
        for kind, limit in rates:
            if limit is not None:
                seconds[kind.provider] = seconds.get(kind.provider, 0.0) + limit.seconds(kind.count, kind.count * kind.tokens)
        return max(seconds.values(), default=0.0)


class Work(NamedTuple):
    """What a task does.

    Attributes:
        stages: What it does one after the other.
        shards: How many processes share it.
        waits_s: Seconds for which it waits for something that takes no place, such as a provider's batch.
        start_s: Seconds until its first process works.
        rank: Those with a higher rank go first where places are scarce.
    """

    stages: tuple[Stage, ...] = ()
    shards: int = 1
    waits_s: float = 0.0
    start_s: float = 0.0
    rank: float = 0.0

    @property
    def busy_s(self) -> float:
        """Seconds from when it works to its end, as long as nobody limits its calls."""
        return self.waits_s + sum(stage.seconds(self.shards) for stage in self.stages)


class Order(Protocol):
    """Which tasks there are, and which wait for which."""

    @property
    def tasks(self) -> Sequence[int]:
        """Every task, each after all it waits for."""
        ...

    def before(self, task: int) -> Sequence[int]:
        """The tasks that one waits for."""
        ...


@dataclass(frozen=True)
class Timeline:
    """When tasks run, in seconds since the run began.

    Attributes:
        starts_s: When each is started.
        ends_s: When each has ended.
    """

    starts_s: Mapping[int, float] = field(default_factory=dict)
    ends_s: Mapping[int, float] = field(default_factory=dict)

    @property
    def makespan_s(self) -> float:
        """When the last has ended."""
        return max(self.ends_s.values(), default=0.0)


def fullest_shard(items: float, shards: int) -> float:
    """How many items the shard with the most is expected to have, as hashes spread them.

    The greatest of n normal variables is expected at the quantile (n - 3/8) / (n + 1/4): G. Blom, "Statistical Estimates and
    Transformed Beta-Variables", 1958.
    """
    if shards == 1:
        return items
    mean = items / shards
    above = NormalDist().inv_cdf((shards - 0.375) / (shards + 0.25))
    return min(items, mean + above * sqrt(mean * (1 - 1 / shards)))


def simulate(order: Order, works: Mapping[int, Work], limits: Mapping[str, RateLimit] | None = None, places: int | None = None) -> Timeline:
    """Play a run through.

    A task begins when all it needs has ended. Where places are scarce, the one with the highest rank goes first (list
    scheduling; its makespan is less than twice the best possible: R. L. Graham, "Bounds on Multiprocessing Timing Anomalies",
    1969). A provider with a limit serves the calls of one task after those of another, in the order in which the tasks begin: all
    are served when they would be if they shared it.

    Args:
        order: The tasks.
        works: What each does.
        limits: What providers allow; who is not named has no limit.
        places: How many processes run at a time; None means as many as want to.
    """
    if not limits and places is None:
        return _without_limits(order, works)
    return _Played(order, works, limits or {}, places).timeline()


def _without_limits(order: Order, works: Mapping[int, Work]) -> Timeline:
    """Without limits nobody waits for anything but what it needs."""
    starts: dict[int, float] = {}
    ends: dict[int, float] = {}
    for task in order.tasks:
        work = works[task]
        starts[task] = max((ends[other] for other in order.before(task)), default=0.0)
        ends[task] = starts[task] + work.start_s + work.busy_s
    return Timeline(starts, ends)


class _Played:
    """A run with limits, from event to event."""

    def __init__(self, order: Order, works: Mapping[int, Work], limits: Mapping[str, RateLimit], places: int | None) -> None:
        self._order = order
        self._works = works
        self._limits = limits
        self._places = places
        self._all_places = places
        self._served_until: dict[str, float] = {}
        self._starts: dict[int, float] = {}
        self._ends: dict[int, float] = {}

    def timeline(self) -> Timeline:
        missing = {task: len(self._order.before(task)) for task in self._order.tasks}
        after: dict[int, list[int]] = {}
        for task in self._order.tasks:
            for other in self._order.before(task):
                after.setdefault(other, []).append(task)
        ready = [(-self._works[task].rank, task) for task in self._order.tasks if not missing[task]]
        ready.sort()
        running: list[tuple[float, int]] = []
        now = 0.0
        while ready or running:
            while ready and self._fits(ready[0][1], running):
                task = heappop(ready)[1]
                heappush(running, (self._end(task, now), task))
            now, ended = heappop(running)
            if self._places is not None:
                self._places += self._taken(ended)
            for task in after.get(ended, ()):
                missing[task] -= 1
                if not missing[task]:
                    heappush(ready, (-self._works[task].rank, task))
        return Timeline(self._starts, self._ends)

    def _fits(self, task: int, running: Sequence[tuple[float, int]]) -> bool:
        """Whether a task can begin now; one that wants more places than there are begins when it is alone."""
        if self._places is None:
            return True
        return self._taken(task) <= self._places or not running

    def _taken(self, task: int) -> int:
        work = self._works[task]
        return 0 if work.waits_s else work.shards

    def _end(self, task: int, now: float) -> float:
        """Begin a task; gives when it ends."""
        if self._places is not None:
            self._places -= self._taken(task)
        work = self._works[task]
        begins = now + work.start_s
        end = begins + work.waits_s
        rounds = 1 if self._all_places is None else ceil(work.shards / self._all_places)
        for stage in work.stages:
            end = max(end + rounds * stage.seconds(work.shards), self._served(stage, end))
        self._starts[task], self._ends[task] = now, end
        return end

    def _served(self, stage: Stage, since: float) -> float:
        """When the providers have served all calls of a stage."""
        last = since
        for kind in stage.calls:
            limit = self._limits.get(kind.provider)
            if limit is None:
                continue
            until = max(self._served_until.get(kind.provider, 0.0), since) + limit.seconds(kind.count, kind.count * kind.tokens)
            self._served_until[kind.provider] = until
            last = max(last, until)
        return last
