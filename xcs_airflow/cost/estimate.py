"""What a run of a graph is expected to do: calls, tokens, US dollars and seconds, each as low, expected and high.

It knows how the figures of operations become those of a run; `work.py` knows one operation, `durations.py` how tasks take time.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from xcs_airflow.cost.assumptions import Assumed
from xcs_airflow.cost.compute import Platform
from xcs_airflow.cost.durations import TaskTimes, makespan, task_times
from xcs_airflow.cost.figures import Figure, GraphEstimate, Money
from xcs_airflow.cost.prices import PriceBook
from xcs_airflow.cost.profile import PipelineProfile
from xcs_airflow.cost.simulation import RateLimit
from xcs_airflow.cost.tasks import TaskOrder
from xcs_airflow.cost.work import OperationWork, works
from xcs_airflow.ir.graph import Graph, toposort


def expected_costs_usd(graph: Graph, prices: PriceBook, profile: PipelineProfile | None = None) -> dict[str, Decimal | None]:
    """The expected cost of every operation's calls, by its id; None when it is not known, or when it makes none.

    These are the costs of an `estimate`, in half its time, because nobody asks when anything runs.
    """
    done = works(graph, toposort(graph), prices, profile, Assumed())
    return {
        name: work.cost_usd.expected if work.tokens is not None and work.runs.items and work.cost_usd.is_complete else None
        for name, work in done.items()
    }


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
    book = prices or PriceBook.load()
    assumed = Assumed()
    ordered = toposort(graph)
    done = works(graph, ordered, book, profile, assumed)
    order = TaskOrder(ordered)
    members: dict[int, list[OperationWork]] = {}
    for operation in ordered:
        members.setdefault(order.task_of[operation.id], []).append(done[operation.id])
    tasks: dict[int, TaskTimes] = {task: task_times(group, assumed, platform, limits or {}) for task, group in members.items()}
    parts = {name: part for task in tasks.values() for name, part in task.parts.items()}
    entries = {operation.id: done[operation.id].entry(parts[operation.id]) for operation in ordered}
    if platform is None:
        assumed.use("task_start")
    return GraphEstimate(
        operations=tuple(entries[operation.id] for operation in graph),
        calls_before=sum(entry.calls_before for entry in entries.values()),
        calls=sum(entry.calls for entry in entries.values()),
        input_tokens=Figure.total(entry.input_tokens for entry in entries.values()),
        output_tokens=Figure.total(entry.output_tokens for entry in entries.values()),
        cost_usd=Money.total(entry.cost_usd for entry in entries.values()),
        duration_s=makespan(order, tasks, platform, limits or {}),
        assumptions=assumed.sentences(),
        prices=book.source,
        measured=tuple(known for operation in graph if (known := done[operation.id].measured) is not None),
    )
