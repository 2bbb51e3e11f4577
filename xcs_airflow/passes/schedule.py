"""The pass that fits calls in flight to what providers allow.

It knows Little's law; how many shards a list has and what shares a task was decided before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from xcs_airflow.cost.simulation import RateLimit
from xcs_airflow.ir.graph import Graph
from xcs_airflow.ir.llm_ops import LLMOperation
from xcs_airflow.ir.operation import Operation
from xcs_airflow.passes.pipeline import Estimates, PassContext

_RULE = (
    "as many calls are in flight as begin in the time that one takes: J. D. C. Little, "
    '"A Proof for the Queuing Formula: L = λW", Operations Research 9, 1961'
)


@dataclass(frozen=True)
class Schedule:
    """Where a provider's requests or tokens per minute are known, no more calls are in flight than these keep busy.

    More would only be refused, or wait while they count as begun. All shards of a task share what is allowed. Without known limits
    nothing is done; the runtime slows down by itself when a provider asks for it.

    Attributes:
        headroom: In flight are so many times what is needed on average, since no two calls take equally long. Assumption.
    """

    headroom: float = 1.25

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """The graph with fewer calls in flight where a limit asks for it."""
        if not context.limits:
            return graph
        decided = {decision.operation for decision in graph.decisions if decision.pass_name == type(self).__name__}
        groups: dict[str, list[LLMOperation]] = {}
        for operation in graph:
            if isinstance(operation, LLMOperation) and operation.batch is not None and operation.id not in decided:
                groups.setdefault(operation.batch.group, []).append(operation)
        estimates = context.estimate(graph)
        fewer: dict[str, int] = {}
        for members in groups.values():
            limit = context.limits.get(members[0].metadata.provider_name)
            if limit is not None:
                in_flight = self._fitted(members, limit, estimates, context)
                fewer |= dict.fromkeys((member.id for member in members), in_flight) if in_flight else {}
        return _with_in_flight(graph, fewer)

    def _fitted(self, members: Sequence[LLMOperation], limit: RateLimit, estimates: Estimates, context: PassContext) -> int | None:
        """How many calls of one shard are to be in flight; None when as many as now."""
        policy = members[0].batch
        entries = [estimates[member.id] for member in members]
        calls = sum(entry.calls for entry in entries)
        if policy is None or policy.mechanism == "provider_batch" or not calls:
            return None
        tokens = sum(entry.input_tokens.expected + entry.output_tokens.expected for entry in entries)
        latency_s = sum(entry.calls * entry.call_latency_s.expected for entry in entries) / calls
        needed = calls / limit.seconds(calls, tokens) * latency_s
        shards = max(member.shards or 1 for member in members)
        each = max(1, ceil(needed * self.headroom / shards))
        said = f"{members[0].metadata.provider_name} allows {_shown(limit)}, which keeps {needed:,.1f} calls of {latency_s:.2g} s in flight"
        is_fewer = each < policy.in_flight
        where = f" in each of {shards} shards" if shards > 1 else ""
        change = f"{each} instead of {policy.in_flight}{where}" if is_fewer else f"{policy.in_flight}{where} are not more"
        for member in members:
            context.decide(self, member.id, f"{said}: {change}", applied=is_fewer, rule=_RULE)
        return each if is_fewer else None


def _shown(limit: RateLimit) -> str:
    parts = [
        f"{amount:,.0f} {what} a minute"
        for amount, what in ((limit.requests_per_minute, "requests"), (limit.tokens_per_minute, "tokens"))
        if amount is not None
    ]
    return " and ".join(parts)


def _with_in_flight(graph: Graph, in_flight: Mapping[str, int]) -> Graph:
    if not in_flight:
        return graph

    def fitted(operation: Operation) -> Operation:
        if operation.id not in in_flight or not isinstance(operation, LLMOperation) or operation.batch is None:
            return operation
        return operation.model_copy(update={"batch": operation.batch.model_copy(update={"in_flight": in_flight[operation.id]})})

    return graph.replace(operations=[fitted(operation) for operation in graph])
