"""The plans among which money and time leave a choice: for each, none is both cheaper and quicker, and the knobs that make it.

It knows which knobs there are and how plans compare; what a knob does is the passes' business.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from xcs_airflow.cost.batch_limits import batch_limits
from xcs_airflow.cost.figures import Figure, Money
from xcs_airflow.cost.mechanisms import why_not_packed
from xcs_airflow.ir.graph import Graph, Objective
from xcs_airflow.ir.llm_ops import LLMOperation
from xcs_airflow.passes import LLMGraphEnhancer, PassContext, PromptBatchingPass
from xcs_airflow.passes.shared import Shared
from xcs_airflow.plan.cloud_export import CloudExporter
from xcs_airflow.plan.cloud_graph import CloudGraph
from xcs_airflow.values import Frozen

_MOST_WINDOWS = 3
_PACK = 5
_QUARTER = 4
_SAME = 0.01


class Plan(Frozen):
    """A plan that no other one beats in both cost and time.

    Attributes:
        knobs: What to write to get it; empty for the pipeline as it is.
        cost_usd: Of all calls of a run.
        compute_usd: Of the machines of a run; None when the target is not known.
        duration_s: Of a run.
        calls: Requests to models.
        mechanisms: How many operations' calls are made in which way.
    """

    knobs: tuple[str, ...]
    cost_usd: Money
    compute_usd: Money | None = None
    duration_s: Figure
    calls: int
    mechanisms: dict[str, int]

    @property
    def whole_usd(self) -> Money:
        """What calls and machines cost together, as far as anybody knows."""
        return self.cost_usd if self.compute_usd is None else Money.total([self.cost_usd, self.compute_usd])

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return self.model_dump(mode="json")


@dataclass(frozen=True)
class _Knobs:
    """One setting of all knobs; None and False leave the pipeline as it is.

    Attributes:
        optimize: What is preferred.
        windows: For how many batches in a row the deadline has room.
        is_packed: Whether items share requests wherever that is possible.
        is_spread: Whether lists get four times the shards.
    """

    optimize: Objective | None = None
    windows: int = 0
    is_packed: bool = False
    is_spread: bool = False

    @property
    def count(self) -> int:
        """How many of them are turned."""
        return sum([self.optimize is not None, self.windows > 0, self.is_packed, self.is_spread])


def frontier(graph: Graph, enhancer: LLMGraphEnhancer, exporter: CloudExporter) -> tuple[Plan, ...]:
    """The plans of a graph that no other one beats, from the cheapest to the quickest; the graph as it is comes first among equals.

    A knob that does not exist in a pipeline, such as room for batches where no provider has a batch API, is not turned. For a target,
    its starts take their time and its machines cost money.

    Args:
        graph: As it was written.
        enhancer: Whose passes run, for whose target; how it batches is turned, too.
        exporter: Makes the plans, for the same target.
    """
    shared = Shared()
    return unbeaten([_plan(graph, knobs, enhancer, exporter, shared) for knobs in _settings(graph)])


def unbeaten(plans: Iterable[Plan]) -> tuple[Plan, ...]:
    """Those of some plans that no other one beats in both cost and time, from the cheapest to the quickest."""
    best: list[Plan] = []
    for plan in sorted(plans, key=lambda plan: (plan.whole_usd.expected, plan.duration_s.expected, len(plan.knobs))):
        # Sorted by cost: it is beaten unless it is quicker than all before it, by more than nobody would notice.
        if not best or plan.duration_s.expected < best[-1].duration_s.expected * (1 - _SAME):
            best.append(plan)
    return tuple(best)


def _settings(graph: Graph) -> Iterator[_Knobs]:
    calls = [operation for operation in graph if isinstance(operation, LLMOperation) and operation.batch is None]
    windows = range(_MOST_WINDOWS + 1) if any(call.metadata.provider_name in batch_limits() for call in calls) else range(1)
    packs = (False, True) if any(_may_be_packed(call) for call in calls) else (False,)
    spreads = (False, True) if any(call.is_mapped for call in calls) else (False,)
    objectives: tuple[Objective | None, ...] = (None, "latency") if graph.policy.optimize != "latency" else (None, "cost")
    settings = (_Knobs(*values) for values in product(objectives, windows, packs, spreads))
    yield from sorted(settings, key=lambda knobs: knobs.count)


def _may_be_packed(call: LLMOperation) -> bool:
    return call.metadata.max_pack == 1 and why_not_packed(_packed(call)) is None


def _packed(call: LLMOperation) -> LLMOperation:
    return call.model_copy(update={"metadata": call.metadata.model_copy(update={"max_pack": _PACK})})


def _plan(graph: Graph, knobs: _Knobs, enhancer: LLMGraphEnhancer, exporter: CloudExporter, shared: Shared) -> Plan:
    turned, said = _turned(graph, knobs)
    passes = [
        replace(one, shard_s=one.shard_s / _QUARTER, min_shard_calls=one.min_shard_calls // _QUARTER)
        if knobs.is_spread and isinstance(one, PromptBatchingPass)
        else one
        for one in enhancer.passes
    ]
    context = PassContext(
        prices=enhancer.prices,
        policy=turned.policy,
        target=enhancer.target,
        limits=enhancer.limits,
        profile=enhancer.profile,
        shared=shared,
    )
    optimised = replace(enhancer, passes=passes).enhance(turned, context)
    plan = exporter.export(optimised, context.estimate(optimised).whole)
    shards = [f"shards={task.shards} on %{task.operations[0]}" for task in plan.tasks if task.shards > 1 and task.kind == "run"]
    knob_texts = (*said, *(shards if knobs.is_spread else ()))
    return Plan(
        knobs=knob_texts,
        cost_usd=plan.totals.cost_usd,
        compute_usd=plan.totals.compute_usd,
        duration_s=plan.totals.duration_s,
        calls=plan.totals.calls,
        mechanisms=_mechanisms(plan),
    )


def _turned(graph: Graph, knobs: _Knobs) -> tuple[Graph, list[str]]:
    """The graph with its knobs turned, and what one would have to write."""
    policy, operations, said = graph.policy, list(graph.operations), []
    if knobs.optimize is not None:
        policy = policy.model_copy(update={"optimize": knobs.optimize})
        said.append(f'optimize="{knobs.optimize}"')
    if knobs.windows:
        hours = _deadline_hours(knobs.windows)
        policy = policy.model_copy(update={"deadline_s": hours * 3600.0})
        said.append(f'deadline="{hours}h"')
    if knobs.is_packed:
        names = [call.id for call in operations if isinstance(call, LLMOperation) and _may_be_packed(call)]
        operations = [_packed(call) if call.id in names and isinstance(call, LLMOperation) else call for call in operations]
        said.append(f"pack={_PACK} on {', '.join(f'%{name}' for name in names)}")
    return graph.replace(policy=policy, operations=operations), said


def _deadline_hours(windows: int) -> int:
    """Room for so many of the longest windows in a row, and two hours for everything else."""
    longest = max(limits.window_s for limits in batch_limits().values())
    return windows * longest // 3600 + 2


def _mechanisms(plan: CloudGraph) -> dict[str, int]:
    ways: Sequence[str] = sorted(operation.mechanism or "alone" for operation in plan.operations if operation.kind == "llm")
    return {way: ways.count(way) for way in dict.fromkeys(ways)}
