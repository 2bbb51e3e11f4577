"""What a run of a graph is expected to do: calls, tokens, US dollars and seconds, each as low, expected and high.

It knows how the figures of operations become those of a run; `work.py` knows one operation, `durations.py` how tasks take time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from xcs_airflow.cost.assumptions import Assumed
from xcs_airflow.cost.compute import Platform
from xcs_airflow.cost.durations import TaskTimes, makespan, task_times
from xcs_airflow.cost.figures import Figure, GraphEstimate, Money
from xcs_airflow.cost.memory import Memory
from xcs_airflow.cost.prices import PriceBook
from xcs_airflow.cost.profile import PipelineProfile
from xcs_airflow.cost.simulation import RateLimit
from xcs_airflow.cost.tasks import TaskOrder
from xcs_airflow.cost.work import OperationWork, works
from xcs_airflow.ir.graph import Graph, toposort


@dataclass(frozen=True)
class Anywhere:
    """What a run does wherever it runs.

    Attributes:
        order: Its tasks.
        tasks: How long each takes, once it has started.
        assumed: What was guessed.
        figures: All of it, but for its `duration_s` and what is assumed.
        on: The whole of it, by the name of the platform where it runs.
    """

    order: TaskOrder
    tasks: dict[int, TaskTimes]
    assumed: Assumed
    figures: GraphEstimate
    on: dict[str, GraphEstimate] = field(default_factory=dict)


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
        self._anywhere: list[tuple[Graph, Anywhere]] = []
        self._costs: list[tuple[Graph, dict[str, Decimal | None]]] = []

    def estimate(self, graph: Graph, platform: Platform | None = None) -> GraphEstimate:
        """What a run is expected to do, as `estimate` says it.

        Args:
            graph: A well-formed graph.
            platform: Where it runs; None leaves out what starting tasks takes.

        Raises:
            GraphError: Operations or batch groups wait for each other in a circle.
        """
        known, name = self._anywhere_of(graph), "" if platform is None else platform.name
        if name in known.on:
            return known.on[name]
        assumed = known.assumed if platform is not None else Assumed([*known.assumed.uses, ("task_start", None)])
        duration_s = makespan(known.order, known.tasks, platform, self._limits)
        known.on[name] = known.figures.model_copy(update={"duration_s": duration_s, "assumptions": assumed.sentences()})
        return known.on[name]

    def expected_costs_usd(self, graph: Graph) -> Mapping[str, Decimal | None]:
        """The expected cost of every operation's calls, by its id, and perhaps of others; None when it is not known, or when it makes none.

        These are the costs of an estimate, in less time, because nobody asks when anything runs.
        """
        for known, costs in self._costs:
            if _is_part(graph, known):
                return costs
        done = works(graph, toposort(graph), self._prices, self._profile, Assumed(), self._memory)
        costs = {
            name: work.cost_usd.expected if work.tokens is not None and work.runs.items and work.cost_usd.is_complete else None
            for name, work in done.items()
        }
        self._costs.append((graph, costs))
        return costs

    def _anywhere_of(self, graph: Graph) -> Anywhere:
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
        ordered = toposort(graph)
        done = works(graph, ordered, self._prices, self._profile, assumed, self._memory)
        order = TaskOrder(ordered)
        members: dict[int, list[OperationWork]] = {}
        for operation in ordered:
            members.setdefault(order.task_of[operation.id], []).append(done[operation.id])
        tasks = {task: task_times(group, assumed, self._limits) for task, group in members.items()}
        parts = {name: part for task in tasks.values() for name, part in task.parts.items()}
        entries = {operation.id: done[operation.id].entry(parts[operation.id]) for operation in ordered}
        figures = GraphEstimate(
            operations=tuple(entries[operation.id] for operation in graph),
            calls_before=sum(entry.calls_before for entry in entries.values()),
            calls=sum(entry.calls for entry in entries.values()),
            input_tokens=Figure.total(entry.input_tokens for entry in entries.values()),
            output_tokens=Figure.total(entry.output_tokens for entry in entries.values()),
            cost_usd=Money.total(entry.cost_usd for entry in entries.values()),
            duration_s=Figure.exactly(0, "none"),
            prices=self._prices.source,
            measured=tuple(known for operation in graph if (known := done[operation.id].measured) is not None),
        )
        return Anywhere(order, tasks, assumed, figures)


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
    return Estimator(prices or PriceBook.load(), profile, limits).estimate(graph, platform)


def _is_part(graph: Graph, whole: Graph) -> bool:
    """Whether all operations of a graph are those of another one, so that the same flows through them."""
    return graph.parameters == whole.parameters and all(op.id in whole and whole[op.id] is op for op in graph)
