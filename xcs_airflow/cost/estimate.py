"""What a run of a graph is expected to do: calls, tokens, US dollars and seconds, each as low, expected and high.

It knows how the figures of operations become those of a run; `work.py` knows one operation, `durations.py` how tasks take time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property
from operator import is_

from xcs_airflow.cost.assumptions import Assumed, Use
from xcs_airflow.cost.compute import Platform
from xcs_airflow.cost.durations import Makespan, TaskTimes, task_times
from xcs_airflow.cost.figures import Figure, GraphEstimate, MeasuredOperation, Money, OperationEstimate, PriceSource
from xcs_airflow.cost.memory import Memory
from xcs_airflow.cost.prices import PriceBook
from xcs_airflow.cost.probes import chance_of, is_probed
from xcs_airflow.cost.profile import PipelineProfile
from xcs_airflow.cost.simulation import RateLimit
from xcs_airflow.cost.tasks import TaskOrder
from xcs_airflow.cost.work import OperationWork, works
from xcs_airflow.ir.graph import Graph
from xcs_airflow.ir.grouping import tasks
from xcs_airflow.ir.llm_ops import LLMOperation


@dataclass(frozen=True)
class Anywhere:
    """What a run does wherever it runs.

    What concerns the run as a whole is summed up when it is asked for: most estimates are asked about operations only.

    Attributes:
        graph: Of which graph.
        tasks: How long each task takes, once it has started, numbered as `TaskOrder` numbers them.
        entries: What each operation does, by its id.
        limits: What providers allow.
        assumed: What was guessed.
        prices: Where prices come from.
        measured: What earlier runs measured, by the operation's id.
    """

    graph: Graph
    tasks: Sequence[TaskTimes]
    entries: Mapping[str, OperationEstimate]
    limits: Mapping[str, RateLimit]
    assumed: Assumed
    prices: PriceSource
    measured: Mapping[str, MeasuredOperation]
    _on: dict[str, GraphEstimate] = field(default_factory=dict)
    _makespans: dict[str, Makespan] = field(default_factory=dict)

    @cached_property
    def order(self) -> TaskOrder:
        """Which task waits for which.

        Raises:
            GraphError: Batch groups wait for each other in a circle.
        """
        return TaskOrder(self.graph.in_order())

    @cached_property
    def cost_usd(self) -> Money:
        """Of all calls."""
        return Money.total(self.entries[operation.id].cost_usd for operation in self.graph.in_order())

    def makespan(self, platform: Platform | None) -> Makespan:
        """When it has ended on a platform; without one, starting tasks takes no time."""
        name = "" if platform is None else platform.name
        if name not in self._makespans:
            self._makespans[name] = Makespan(self.order, self.tasks, platform, self.limits)
        return self._makespans[name]

    def on(self, platform: Platform | None) -> GraphEstimate:
        """All of it on a platform; without one, starting tasks takes no time."""
        name = "" if platform is None else platform.name
        if name not in self._on:
            assumed = self.assumed if platform is not None else Assumed([*self.assumed.uses, ("task_start", None)])
            duration_s = self.makespan(platform).figure
            self._on[name] = self._summed_up(duration_s, assumed)
        return self._on[name]

    def _summed_up(self, duration_s: Figure, assumed: Assumed) -> GraphEstimate:
        in_order = [self.entries[operation.id] for operation in self.graph.in_order()]
        return GraphEstimate(
            operations=tuple(self.entries[operation.id] for operation in self.graph),
            calls_before=sum(entry.calls_before for entry in in_order),
            calls=sum(entry.calls for entry in in_order),
            input_tokens=Figure.total(entry.input_tokens for entry in in_order),
            output_tokens=Figure.total(entry.output_tokens for entry in in_order),
            cost_usd=self.cost_usd,
            duration_s=duration_s,
            assumptions=assumed.sentences(),
            prices=self.prices,
            measured=tuple(self.measured.values()),
        )


@dataclass(frozen=True)
class _Task:
    """A task as it was found to be: whose it is, how long it takes, what its operations do, and what was assumed for it."""

    works: tuple[OperationWork, ...]
    times: TaskTimes
    entries: tuple[OperationEstimate, ...]
    uses: tuple[Use, ...]


class Estimator:
    """Estimates of graphs that are much alike, as passes make them: what is computed for one is not computed again for the next.

    Args:
        prices: The price book.
        profile: What earlier runs measured; None when nothing was.
        limits: What providers allow, by their names; who is not named has no limit.
    """

    def __init__(self, prices: PriceBook, profile: PipelineProfile | None = None, limits: Mapping[str, RateLimit] | None = None) -> None:
        self._prices = prices
        self._profile = profile
        self._limits = dict(limits or {})
        self._memory = Memory()
        self._tasks: dict[tuple[str, int], _Task] = {}
        self._anywhere: list[tuple[Graph, Anywhere]] = []
        self._costs: list[tuple[Graph, dict[str, Decimal | None]]] = []

    def expected_costs_usd(self, graph: Graph) -> Mapping[str, Decimal | None]:
        """The expected cost of every operation's calls, by its id, and perhaps of others; None when it is not known, or when it makes none.

        These are the costs of an estimate, in less time, because nobody asks when anything runs.
        """
        for known, costs in self._costs:
            if _is_part(graph, known):
                return costs
        done = works(graph, graph.in_order(), self._prices, self._profile, Assumed(), self._memory)
        costs = {
            name: work.cost_usd.expected if work.tokens is not None and work.runs.items and work.cost_usd.is_complete else None
            for name, work in done.items()
        }
        self._costs.append((graph, costs))
        return costs

    def anywhere(self, graph: Graph) -> Anywhere:
        """What a run is expected to do wherever it runs.

        Args:
            graph: A well-formed graph.

        Raises:
            GraphError: Operations or batch groups wait for each other in a circle.
        """
        # The same object comes again and again, and only that is found without looking at every operation.
        same = (found for known, found in self._anywhere if known is graph)
        alike = (found for known, found in self._anywhere if len(known) == len(graph) and _is_part(graph, known))
        found = next(same, None) or next(alike, None)
        if found is None:
            found = self._computed(graph)
            self._anywhere.append((graph, found))
        return found

    def _computed(self, graph: Graph) -> Anywhere:
        assumed = Assumed()
        ordered = graph.in_order()
        done = works(graph, ordered, self._prices, self._profile, assumed, self._memory)
        times: list[TaskTimes] = []
        entries: dict[str, OperationEstimate] = {}
        for members in tasks(ordered):
            group = [done[operation.id] for operation in members]
            task = self._task(group)
            assumed.uses += task.uses
            if is_probed(members):
                told = {work.operation.id: work.measured for work in group if work.measured is not None}
                chance = chance_of([operation.id for operation in members], told, assumed)
                task = replace(task, times=replace(task.times, chance=chance))
            times.append(task.times)
            entries.update(zip((operation.id for operation in members), task.entries, strict=True))
        measured = {operation.id: known for operation in graph if (known := done[operation.id].measured) is not None}
        return Anywhere(graph, times, entries, self._limits, assumed, self._prices.source, measured)

    def _task(self, group: Sequence[OperationWork]) -> _Task:
        """A task; as it was before, if nothing of it changed but what it may use and what it is called."""
        key = (group[0].operation.id, len(group))
        known = self._tasks.get(key)
        if known is not None and all(map(_is_as_good_as, known.works, group)):
            resources = tuple(work.operation.resources for work in group)
            return known if resources == known.times.resources else replace(known, times=replace(known.times, resources=resources))
        assumed = Assumed()
        times = task_times(group, assumed, self._limits)
        entries = tuple(work.entry(times.parts[work.operation.id]) for work in group)
        self._tasks[key] = _Task(tuple(group), times, entries, tuple(assumed.uses))
        return self._tasks[key]


def _is_as_good_as(old: OperationWork, new: OperationWork) -> bool:
    """Whether the times of a task are the same with one as with the other."""
    return old is new or all(map(is_, _what_matters(old), _what_matters(new)))


def _what_matters(work: OperationWork) -> tuple[object, ...]:
    """All on which the times of a task depend that has an operation; equal objects that are not the same are taken for different."""
    operation = work.operation
    _, *figures = work  # the first is the operation
    how = (operation.batch, operation.prefix, operation.metadata) if isinstance(operation, LLMOperation) else ()
    return (operation.id, operation.inputs, operation.when, operation.func, operation.shards, *how, *figures)


def estimate(
    graph: Graph,
    prices: PriceBook | None = None,
    profile: PipelineProfile | None = None,
    *,
    platform: Platform | None = None,
    limits: Mapping[str, RateLimit] | None = None,
) -> GraphEstimate:
    """What a run is expected to do: with an empty cache, unless earlier runs tell how much of it comes from there.

    An operation of a batch group shares its group's calls in flight: its `duration_s` is its part of the group's duration, so
    the parts add up to the whole.

    Args:
        graph: A well-formed graph.
        prices: The price book; by default that of the pinned data.
        profile: What earlier runs measured; None when nothing was.
        platform: Where it runs; None leaves out what starting tasks takes.
        limits: What providers allow, by their names; who is not named has no limit.

    Raises:
        GraphError: Operations or batch groups wait for each other in a circle.
    """
    return Estimator(prices or PriceBook.load(), profile, limits).anywhere(graph).on(platform)


def _is_part(graph: Graph, whole: Graph) -> bool:
    """Whether all operations of a graph are those of another one, so that the same flows through them."""
    return graph.parameters == whole.parameters and all(op.id in whole and whole[op.id] is op for op in graph)
