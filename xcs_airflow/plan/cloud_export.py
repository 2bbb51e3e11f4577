"""The cloud export: a graph and its estimate become the plan that every target is rendered from.

It knows how tasks sum up their operations; it does not know any platform.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import ceil

from xcs_airflow.cost.batch_priming import POLL_PAUSE_S
from xcs_airflow.cost.compute import Platform, platform_of, task_cost_usd
from xcs_airflow.cost.estimate import estimate
from xcs_airflow.cost.figures import NOTHING, Figure, GraphEstimate, MeasuredOperation, Money, OperationEstimate
from xcs_airflow.cost.prices import PriceBook
from xcs_airflow.cost.probes import chance_of
from xcs_airflow.cost.profile import PipelineProfile
from xcs_airflow.cost.simulation import RateLimit
from xcs_airflow.ir.check import check
from xcs_airflow.ir.graph import Graph, dependencies
from xcs_airflow.ir.llm_ops import LLMOperation
from xcs_airflow.ir.operation import Operation, Resources, Retry
from xcs_airflow.manifest import Manifest, Task
from xcs_airflow.plan.cloud_graph import CloudGraph, PlannedOperation, PlannedTask, Spares, Totals, Wait
from xcs_airflow.plan.lower import lower
from xcs_airflow.plan.profile_use import profile_use

_LATE_S = 3600
"""For how long a provider may go on after its window before a platform gives up. Assumption."""

_WORDS = {
    "submit": "Hands the calls to the provider's batch API.",
    "poll": "Asks whether the provider has finished.",
    "probe": "Looks whether all answers are known.",
}


class CloudExporter:
    """Turns a graph into a plan: `CloudExporter().export(graph) -> CloudGraph`.

    It only lowers; run the passes first (`LLMGraphEnhancer`) if the graph is to be optimised.

    Args:
        prices: The price book; by default that of the pinned price data.
        profile: What earlier runs of the pipeline measured; None when nothing was.
        target: For which platform the graph was optimised; None for all alike.
        limits: What providers allow, by their names; who is not named has no limit.
    """

    def __init__(
        self,
        prices: PriceBook | None = None,
        profile: PipelineProfile | None = None,
        *,
        target: str | None = None,
        limits: Mapping[str, RateLimit] | None = None,
    ) -> None:
        self._prices = prices
        self._profile = profile
        self._target = target
        self._limits = limits

    def export(self, graph: Graph, figures: GraphEstimate | None = None) -> CloudGraph:
        """The plan of a graph.

        Args:
            graph: What to lower.
            figures: What its run is expected to do, where that is known already.

        Raises:
            GraphError: The graph is not well formed.
            PlanError: A price file is not valid, or calls cannot go through a provider's batch API.
        """
        check(graph)
        if figures is None:
            figures = estimate(graph, self._prices, self._profile, platform=platform_of(self._target), limits=self._limits)
        manifest = lower(graph)
        by_operation = {entry.operation: entry for entry in figures.operations}
        tasks = _planned_tasks(graph, manifest, figures, platform_of(self._target))
        return CloudGraph(
            name=graph.name,
            source=graph.source,
            target=self._target,
            graph_digest=manifest.graph_digest,
            policy=graph.policy,
            parameters=graph.parameters,
            operations=tuple(_planned_operation(op, manifest.task_of_step[op.id].id, by_operation[op.id]) for op in graph),
            tasks=tasks,
            decisions=graph.decisions,
            totals=_totals(figures, tasks, platform_of(self._target)),
            assumptions=figures.assumptions,
            prices=figures.prices,
            profile=None if self._profile is None else profile_use(self._profile, figures.measured),
            manifest=manifest,
        )


def _planned_operation(operation: Operation, task: str, figures: OperationEstimate) -> PlannedOperation:
    llm = operation if isinstance(operation, LLMOperation) else None
    return PlannedOperation(
        id=operation.id,
        kind=operation.kind,
        task=task,
        needs=dependencies(operation),
        model=llm.metadata.model if llm else None,
        mechanism=llm.batch.mechanism if llm and llm.batch else None,
        is_mapped=operation.is_mapped,
        is_cached=llm is not None and llm.cache is not None,
        description=operation.description,
        source=operation.source,
        estimate=figures,
    )


def _planned_tasks(graph: Graph, manifest: Manifest, figures: GraphEstimate, platform: Platform | None) -> tuple[PlannedTask, ...]:
    by_operation = {entry.operation: entry for entry in figures.operations}
    members = {task.id: [graph[step.id] for step in _owner(manifest, task).steps] for task in manifest.tasks}
    durations = {task.id: _duration(task, [by_operation[op.id] for op in members[task.id]]) for task in manifest.tasks}
    priorities = _priorities(manifest, {name: duration.expected for name, duration in durations.items()})
    planned = (
        _planned_task(task, members[task.id], by_operation, priorities[task.id]).model_copy(
            update={"duration_s": durations[task.id], "wait": _wait(manifest, task)}
        )
        for task in manifest.tasks
    )
    measured = {entry.operation: entry for entry in figures.measured}
    smallest = Resources() if platform is None else platform.smallest
    return tuple(_as_probe(task, manifest, measured, smallest) if task.kind == "probe" else task for task in planned)


def _as_probe(task: PlannedTask, manifest: Manifest, measured: Mapping[str, MeasuredOperation], smallest: Resources) -> PlannedTask:
    """A task that probes runs on the smallest size and calls nobody.

    Image, variables and secrets are those of the task it is part of: the code that writes prompts, the file of a local model and the key
    of the cache are part of what answers are remembered by.
    """
    spares = Spares(task=manifest.task_by_id[task.id].part_of or "", chance=chance_of(task.operations, measured))
    return task.model_copy(update={"resources": smallest, "providers": (), "spares": spares})


def _owner(manifest: Manifest, task: Task) -> Task:
    """The task that has the steps: itself, or the one it is part of."""
    return task if task.part_of is None else manifest.task_by_id[task.part_of]


def _wait(manifest: Manifest, task: Task) -> Wait | None:
    owner = _owner(manifest, task)
    batch = owner.provider_batch
    if task.kind != "poll" or batch is None:
        return None
    is_primed = any(step.call is not None and step.call.prefix is not None and step.call.prefix.prime for step in owner.steps)
    return Wait(every_s=batch.poll_every_s, at_most_s=(batch.rounds + is_primed) * (batch.window_s + _LATE_S))


def _planned_task(task: Task, members: Sequence[Operation], figures: Mapping[str, OperationEstimate], priority: int) -> PlannedTask:
    timeouts = [operation.timeout_s for operation in members if operation.timeout_s is not None]
    providers = [op.metadata.provider_name for op in members if isinstance(op, LLMOperation)]
    descriptions = [_WORDS.get(task.kind, ""), *(operation.description for operation in members)]
    return PlannedTask(
        id=task.id,
        kind=task.kind,
        operations=tuple(operation.id for operation in members),
        needs=task.needs,
        shards=task.shards,
        in_flight=task.in_flight,
        resources=_largest([operation.resources for operation in members]),
        retry=Retry(attempts=max(op.retry.attempts for op in members), delay_s=max(op.retry.delay_s for op in members)),
        timeout_s=sum(timeouts) if len(timeouts) == len(members) else None,
        secrets={name: ref for operation in members for name, ref in operation.secrets.items()},
        env={name: value for operation in members for name, value in operation.env.items()},
        image=next((operation.image for operation in members if operation.image), None),
        providers=tuple(dict.fromkeys(providers)),
        priority=priority,
        description="; ".join(filter(None, descriptions)),
        cost_usd=Money() if task.part_of else Money.total(figures[operation.id].cost_usd for operation in members),
    )


def _largest(needs: Sequence[Resources]) -> Resources:
    """What satisfies the needs of operations that run in one process, one after the other or waiting together."""
    return Resources(
        cpu=max(need.cpu for need in needs),
        memory_mib=max(need.memory_mib for need in needs),
        gpu=max(need.gpu for need in needs),
        gpu_type=next((need.gpu_type for need in needs if need.gpu_type), None),
    )


def _duration(task: Task, entries: Sequence[OperationEstimate]) -> Figure:
    """Operations of one task share its calls in flight, so their durations add up; what goes through a batch API takes its poll's time.

    What is known is read in no time that counts.
    """
    if task.kind in ("submit", "collect", "probe"):
        return NOTHING
    return Figure.total(entry.duration_s for entry in entries)


def _priorities(manifest: Manifest, seconds: Mapping[str, float]) -> dict[str, int]:
    """Rank of every task by the longest path that begins with it: the more seconds wait behind it, the higher."""
    longest_after = dict.fromkeys(seconds, 0.0)
    behind: dict[str, float] = {}
    for task in reversed(manifest.tasks):
        behind[task.id] = seconds[task.id] + longest_after[task.id]
        for need in task.needs:
            longest_after[need] = max(longest_after[need], behind[task.id])
    ranks = sorted({round(length, 6) for length in behind.values()})
    rank_of = {length: rank for rank, length in enumerate(ranks, start=1)}
    return {name: rank_of[round(length, 6)] for name, length in behind.items()}


def _totals(figures: GraphEstimate, tasks: Sequence[PlannedTask], platform: Platform | None) -> Totals:
    chances = {task.spares.task: task.spares.chance for task in tasks if task.spares is not None}
    return Totals(
        calls_before=figures.calls_before,
        calls=figures.calls,
        input_tokens=figures.input_tokens,
        output_tokens=figures.output_tokens,
        cost_usd=figures.cost_usd,
        duration_s=figures.duration_s,
        compute_usd=None if platform is None else Money.total(_compute_usd(task, platform, chances.get(task.id)) for task in tasks),
        tasks=len(tasks),
        starts=sum(task.shards for task in tasks),
    )


def _compute_usd(task: PlannedTask, platform: Platform, chance: Figure | None) -> Money:
    """What the machines of a task cost. One that polls is paid for at every look, and not for the time between.

    What a probe spares are starts that would ask nothing; the time of calls is counted with an empty cache, unless a profile tells more.

    Args:
        task: The task.
        platform: Where it runs.
        chance: How likely a probe finds that it need not be started; None when it is not probed.
    """
    if task.wait is None:
        cost = task_cost_usd(platform, task.resources, task.duration_s).times(task.shards)
        if chance is None:
            return cost
        often = Figure(low=chance.high, expected=chance.expected, high=chance.low)
        spared = task_cost_usd(platform, task.resources, 0.0).times(task.shards).times_each(often)
        return replace(cost, low=cost.low - spared.low, expected=cost.expected - spared.expected, high=cost.high - spared.high)
    look = task_cost_usd(platform, task.resources, 0.0)
    waited = task.duration_s
    low, expected, high = (ceil(1 + seconds / POLL_PAUSE_S) for seconds in (waited.low, waited.expected, waited.high))
    return replace(look, low=look.low * low, expected=look.expected * expected, high=look.high * high)
