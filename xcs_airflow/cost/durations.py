"""How long the tasks of a run take: what each does one after the other, what starts it, and how all of them together make the run.

It knows what operations do and which share a task; `simulation.py` plays the tasks through.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from xcs_airflow.cost.assumptions import Assumed, rows
from xcs_airflow.cost.compute import Platform
from xcs_airflow.cost.figures import NOTHING, Figure
from xcs_airflow.cost.latency import calls_at_a_time, goes_through_batch_api
from xcs_airflow.cost.simulation import Calls, RateLimit, Stage, Work, simulate
from xcs_airflow.cost.tasks import TaskOrder
from xcs_airflow.cost.tokens import CallTokens
from xcs_airflow.cost.work import OperationWork
from xcs_airflow.ir.graph import dependencies
from xcs_airflow.ir.llm_ops import LLMOperation
from xcs_airflow.ir.operation import Operation, Resources

_NO_TOKENS = CallTokens(NOTHING, NOTHING)


def _stages_of(members: Sequence[OperationWork]) -> list[list[OperationWork]]:
    """What operations of one task do one after the other: model calls that do not wait for each other are in flight side by side."""
    if len(members) == 1:
        return [list(members)]
    level: dict[str, int] = {}
    stages: dict[tuple[int, str], list[OperationWork]] = {}
    for work in members:
        operation = work.operation
        level[operation.id] = max((level[need] + 1 for need in dependencies(operation) if need in level), default=0)
        side_by_side = "" if work.tokens is not None else operation.id
        stages.setdefault((level[operation.id], side_by_side), []).append(work)
    return [stages[key] for key in sorted(stages, key=lambda key: key[0])]


@dataclass(frozen=True)
class TaskTimes:
    """What one task does, at best, as expected and at worst, and what each of its operations has of that.

    Attributes:
        ends: Work at best, as expected and at worst.
        parts: The duration of every operation; the parts of a task add up to its work.
        resources: What its members ask for; what starts slowest decides when it works.
        starts: How many starts it takes one after the other.
        chance: How likely a probe finds that it need not be started, from 0 to 1; None when it is not probed.
    """

    ends: tuple[Work, Work, Work]
    parts: dict[str, Figure]
    resources: tuple[Resources, ...]
    starts: int = 1
    chance: Figure | None = None


def task_times(members: Sequence[OperationWork], assumed: Assumed, limits: Mapping[str, RateLimit]) -> TaskTimes:
    """How long a task takes without its start, wherever it runs, and what each of its operations has of that.

    Args:
        members: The operations that share it.
        assumed: Takes note of what is guessed.
        limits: What providers allow.
    """
    if any(goes_through_batch_api(work.operation) for work in members):
        return _waited_for(members, assumed)
    shards = max(work.operation.shards or 1 for work in members)
    stages = _stages_of(members)
    parts: dict[str, Figure] = {}
    ends: list[list[Stage]] = [[], [], []]
    for together in stages:
        in_flight = max(calls_at_a_time(work.operation, assumed) for work in together)
        kinds = [_calls(work) for work in together]
        shares = []
        for end, of_end in enumerate(ends):
            stage = Stage(tuple(kind[end] for kind in kinds), in_flight)
            of_end.append(stage)
            seconds = max(stage.seconds(shards), stage.served_s(limits))
            busy = sum(kind.count * kind.latency_s for kind in stage.calls)
            shares.append([seconds * kind.count * kind.latency_s / busy if busy else 0.0 for kind in stage.calls])
        for index, work in enumerate(together):
            low, expected, high = (share[index] for share in shares)
            parts[work.operation.id] = Figure(low=low, expected=expected, high=high)
    for work in members:
        if _is_primed(work.operation):
            for calls, of_end in zip(_calls(work), ends, strict=True):
                of_end.insert(0, Stage((replace(calls, count=min(calls.count, shards)),), shards))
            parts[work.operation.id] = Figure.total((parts[work.operation.id], work.latency_s))
    low_work, expected_work, high_work = (Work(tuple(of_end), shards) for of_end in ends)
    return TaskTimes((low_work, expected_work, high_work), parts, _resources(members))


def _is_primed(operation: Operation) -> bool:
    """Whether one call of every shard is answered before the others begin; of a provider's batch, a batch of one before the rest."""
    return isinstance(operation, LLMOperation) and operation.prefix is not None and operation.prefix.prime


def _calls(work: OperationWork) -> tuple[Calls, Calls, Calls]:
    """The calls or runs of an operation at best, as expected and at worst. At best, what has a condition is skipped."""
    provider = work.operation.metadata.provider_name if isinstance(work.operation, LLMOperation) else ""
    (into, out), latency, made = work.tokens or _NO_TOKENS, work.latency_s, work.made
    low = Calls(made.low, latency.low, into.low + out.low, provider) if work.operation.when is None else Calls(0, 0.0)
    slow_s = latency.high if latency.source == "profile" else None
    expected = Calls(made.expected, latency.expected, into.expected + out.expected, provider, slow_s)
    return low, expected, Calls(made.high, latency.high, into.high + out.high, provider)


def _resources(members: Sequence[OperationWork]) -> tuple[Resources, ...]:
    return tuple(work.operation.resources for work in members)


def _start_s(task: TaskTimes, platform: Platform | None) -> tuple[float, float, float]:
    """Seconds until a task works, without those in which it waits: at best, as expected, at worst.

    What is probed waits for its probe, and begins as often as that finds something missing.
    """
    if platform is None:
        return 0.0, 0.0, 0.0
    slowest = max((platform.start_of(resources) for resources in task.resources), key=lambda start: start.expected)
    if task.chance is None:
        return task.starts * slowest.low, task.starts * slowest.expected, task.starts * slowest.high
    probe, chance = platform.start_of(platform.smallest), task.chance
    return (
        probe.low + (1 - chance.high) * slowest.low,
        probe.expected + (1 - chance.expected) * slowest.expected,
        probe.high + (1 - chance.low) * slowest.high,
    )


def _waited_for(members: Sequence[OperationWork], assumed: Assumed) -> TaskTimes:
    """Operations whose calls go through a provider's batch API wait for the batch; each has its part of that.

    Where one of them is primed, all of them wait twice: for the batch of one request, and for that of the others.
    """
    rounds = sum(work.rounds for work in members)
    batches = 2 if any(_is_primed(work.operation) for work in members) else 1
    parts = {}
    for work in members:
        batch, share = _batch_s(work, assumed), batches * work.rounds / max(rounds, 1)
        low = 0 if work.operation.when is not None else batch.low * share
        parts[work.operation.id] = Figure(low=low, expected=batch.expected * share, high=batch.high * share, source=batch.source)
    whole = Figure.total(parts.values())
    works = (Work(waits_s=whole.low), Work(waits_s=whole.expected), Work(waits_s=whole.high))
    # One start hands the calls over and one takes the answers in; those that ask in between are part of the wait.
    return TaskTimes(works, parts, _resources(members), starts=2)


def _batch_s(work: OperationWork, assumed: Assumed) -> Figure:
    """Seconds until a provider has finished a batch: as in earlier runs, else assumed. At worst it takes as long as is assumed."""
    measured = None if work.history is None else work.history.batch_s
    if measured is None:
        return assumed.use("provider_batch_s", work.operation.id)
    longest = max(measured.high, rows()["provider_batch_s"].high)
    return Figure(low=measured.low, expected=measured.expected, high=longest, source=measured.source)


class Makespan:
    """When the last task of a run has ended; at best, as expected and at worst may go different ways. Each is played when it is asked for.

    Args:
        order: Which task waits for which.
        tasks: How long each takes, by its number.
        platform: Where they run; None has a place for every one.
        limits: What providers allow.
    """

    def __init__(self, order: TaskOrder, tasks: Sequence[TaskTimes], platform: Platform | None, limits: Mapping[str, RateLimit]) -> None:
        self._order = order
        self._tasks = tasks
        self._limits = limits
        self._places = None if platform is None else platform.places
        self._starts_s = {task: _start_s(times, platform) for task, times in enumerate(tasks)}
        self._ranks = _ranks(order, tasks, self._starts_s) if self._places is not None else {}

    @cached_property
    def expected_s(self) -> float:
        """As expected, in seconds since the run began."""
        return self._played(1)

    @cached_property
    def figure(self) -> Figure:
        """All three."""
        low, expected, high = self._played(0), self.expected_s, self._played(2)
        return Figure(low=min(low, expected), expected=expected, high=max(expected, high))

    def _played(self, end: int) -> float:
        works = {
            task: _started(times.ends[end], self._starts_s[task][end], self._ranks.get(task, 0.0)) for task, times in enumerate(self._tasks)
        }
        return simulate(self._order, works, self._limits, self._places).makespan_s


def _started(work: Work, start_s: float, rank: float) -> Work:
    return Work(work.stages, work.shards, work.waits_s, start_s, rank)


def _ranks(order: TaskOrder, tasks: Sequence[TaskTimes], starts_s: Mapping[int, tuple[float, float, float]]) -> dict[int, float]:
    """For every task, the seconds of the longest way that begins with it, as expected."""
    behind = dict.fromkeys(order.tasks, 0.0)
    for task in reversed(order.tasks):
        behind[task] += starts_s[task][1] + tasks[task].ends[1].busy_s
        for other in order.before(task):
            behind[other] = max(behind[other], behind[task])
    return behind
