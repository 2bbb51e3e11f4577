"""The pass that lets a cheap task look into the cache before a dear one is started.

It knows what may be probed and what that is worth; it does not know how a platform leaves a task out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import reduce

from xcs_airflow.cost.compute import Platform, platform_of
from xcs_airflow.cost.fusion import largest
from xcs_airflow.cost.latency import goes_through_batch_api
from xcs_airflow.cost.probes import Bet, Starts, chance_of
from xcs_airflow.ir.graph import Graph, PipelinePolicy
from xcs_airflow.ir.grouping import task_key
from xcs_airflow.ir.llm_ops import LLMOperation
from xcs_airflow.ir.operation import Operation, Resources
from xcs_airflow.passes.pipeline import PassContext

_RULE = (
    "a start is billed from its first second, and a minute at least, whether it asks anything or not "
    "(https://aws.amazon.com/fargate/pricing/, https://cloud.google.com/run/pricing; cost/data/compute.json): "
    "a look that costs less than what it spares on average pays"
)
_OF_A_PROCESS = ("off", "memory")
_OF_A_MACHINE = (*_OF_A_PROCESS, "sqlite:")
_HOUR_S = 3600
_DECIMALS = 6


@dataclass(frozen=True)
class ProbeBeforeStart:
    """A task whose start is dear is probed first: the smallest one looks whether all its answers are known, and spares the start.

    Considered are tasks of model calls alone whose start costs more than the smallest one, as with a GPU. They may be probed where
    every answer is remembered in a cache that all tasks reach, and not where calls go through a provider's batch API, whose first
    task looks into the cache anyway. They are where the probe costs less than the starts that it spares on average: in US dollars, for
    `latency` in seconds, for `balanced` in both; where nobody knows what workers cost, in seconds of workers, of which one with a GPU
    counts as several. How often everything is known, earlier runs tell, or else it is assumed. A deadline must hold even if no probe
    finds anything.
    """

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """The graph with a mark on the operations of tasks that are probed."""
        platform = platform_of(context.target)
        if platform is None:
            return graph
        decided = {decision.operation for decision in graph.decisions if decision.pass_name == type(self).__name__}
        starts = Starts(platform)
        tasks = [members for members in _tasks_of_calls(graph) if members[0].id not in decided and starts.is_dear(_needs(members))]
        if not tasks:
            return graph
        policy, whole = context.policy or graph.policy, context.estimate(graph).whole
        measured = {entry.operation: entry for entry in whole.measured}
        room_s = None if policy.deadline_s is None else policy.deadline_s - whole.duration_s.expected
        probed: set[str] = set()
        for members in tasks:
            chance, shards = chance_of([member.id for member in members], measured), max(member.shards or 1 for member in members)
            each = starts.bet(_needs(members), shards, chance.expected)
            weighed = _weighed(each, shards, platform, is_measured=chance.source == "profile")
            why_not = _why_not(members, platform) or _why_no_room(each, room_s)
            if not why_not and not _pays(each, policy):
                why_not = f"it would not pay: {weighed}"
            self._explain(members, why_not or weighed, None if why_not else each, context)
            if not why_not:
                probed.update(member.id for member in members)
                room_s = None if room_s is None else room_s - each.probe_s
        marked = [operation.model_copy(update={"probe": True}) if operation.id in probed else operation for operation in graph]
        return graph.replace(operations=marked) if probed else graph

    def _explain(self, members: Sequence[LLMOperation], reason: str, each: Bet | None, context: PassContext) -> None:
        for index, member in enumerate(members):
            # The first speaks for all of them, so that sums over decisions are right.
            told = each if index == 0 else None
            usd = None if told is None or told.saves_usd is None else round(told.saves_usd, _DECIMALS)
            seconds = None if told is None else told.saves_s
            context.decide(self, member.id, reason, applied=each is not None, rule=_RULE, saves_usd=usd, saves_s=seconds)


def _tasks_of_calls(graph: Graph) -> Iterator[list[LLMOperation]]:
    """The operations of every task in which the runtime makes calls and does nothing else."""
    tasks: dict[tuple[str, str], list[Operation]] = {}
    for operation in graph:
        tasks.setdefault(task_key(operation), []).append(operation)
    for members in tasks.values():
        calls = [operation for operation in members if isinstance(operation, LLMOperation) and operation.func is None]
        if len(calls) == len(members):
            yield calls


def _needs(members: Sequence[Operation]) -> Resources:
    """What satisfies all operations of a task."""
    return reduce(largest, (member.resources for member in members))


def _why_not(members: Sequence[LLMOperation], platform: Platform) -> str:
    """Why a task must not be probed, whatever it is worth; empty when it may be."""
    apart = _OF_A_MACHINE if platform.sizes else _OF_A_PROCESS
    for member in members:
        if member.probe:
            return f"%{member.id} asks for a probe already"
        if goes_through_batch_api(member):
            return "its calls go through a provider's batch API, and the task that submits them looks into the cache anyway"
        if member.cache is None:
            return f"the answers of %{member.id} are not remembered for other runs"
        cache = member.env.get("XCS_CACHE", "")
        if cache.startswith(apart):
            return f"its cache is {cache}, which a probe does not reach"
    return ""


def _why_no_room(each: Bet, room_s: float | None) -> str:
    """Why the deadline does not allow a probe that finds nothing; empty when it does."""
    if room_s is None or each.probe_s <= room_s:
        return ""
    return f"a probe takes {each.probe_s:,.0f} s, and {max(room_s, 0):,.0f} s are left before the deadline"


def _pays(each: Bet, policy: PipelinePolicy) -> bool:
    if policy.optimize == "latency":
        return each.saves_s > 0
    if each.saves_usd is None:
        return each.saves_worker_s > 0
    hours = Decimal(repr(each.saves_s)) / _HOUR_S if policy.optimize == "balanced" else Decimal(0)
    return each.saves_usd + hours * policy.hour_usd > 0


def _weighed(each: Bet, shards: int, platform: Platform, *, is_measured: bool) -> str:
    """What a probe takes and what it spares, in words."""
    often = f"all is known in {each.chance:.0%} of runs ({'as in earlier ones' if is_measured else 'assumed'})"
    starts = "a start" if shards == 1 else f"{shards} starts"
    if each.probe_usd is None or each.spared_usd is None:
        counted = f"{each.spared_s:,.0f} s on a worker with a GPU, which counts as {each.workers:g}"
        return f"{often}: a probe takes {each.probe_s:,.0f} s of a worker of {platform.name} each time and then spares {starts}, {counted}"
    taken, spared = (f"{usd:.4f} USD and {s:,.0f} s" for usd, s in ((each.probe_usd, each.probe_s), (each.spared_usd, each.spared_s)))
    return f"{often}: a probe takes {taken} each time and then spares {starts}, {spared}"
