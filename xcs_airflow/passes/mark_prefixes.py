"""The pass that lets providers' prompt caches have what the calls of an operation share.

It knows when a cache pays; what a provider's cache takes and costs is `cost/prompt_cache.py`, how it is marked the runtime's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar

from xcs_airflow.cost.batch_limits import batch_limits
from xcs_airflow.cost.batch_priming import Primed, why_forgotten, why_not_primed
from xcs_airflow.cost.figures import OperationEstimate
from xcs_airflow.cost.latency import goes_through_batch_api, is_local
from xcs_airflow.cost.mechanisms import Option
from xcs_airflow.cost.prices import PriceBook
from xcs_airflow.cost.prompt_cache import pays_from, prompt_cache_of
from xcs_airflow.cost.work import priced_model
from xcs_airflow.ir.graph import Graph
from xcs_airflow.ir.grouping import task_key
from xcs_airflow.ir.llm_ops import LLMOperation, PrefixPolicy
from xcs_airflow.ir.operation import Operation
from xcs_airflow.passes.pipeline import Estimates, PassContext

_RULE = (
    "a write costs 1.25 and a read 0.1 times the price of input, so one read pays for a write "
    "(docs.anthropic.com/en/docs/build-with-claude/prompt-caching); calls that begin together do not see each other's write"
)
_BATCH_RULE = (
    "25 requests of 11,400 shared tokens in one batch read nothing of what they wrote: 0.0816 USD each with markers, 0.0744 without, and "
    "0.0484 after a batch of one request (github.com/Bike4Mind/bike4mind issue 2741); to be written for an hour "
    "(platform.claude.com/docs/en/build-with-claude/prompt-caching#cache-storage-and-sharing); the windows along a path add up"
)
_NOTICEABLE = Decimal("0.01")

_Way = tuple[Mapping[str, PrefixPolicy], Estimates]
"""How operations are marked, by their ids, and what a run does then."""


@dataclass(frozen=True)
class MarkPrefixes:
    """Calls of an operation that begin alike, with enough tokens for their provider's prompt cache, are marked where reading pays.

    The first call is answered before the others begin, if that costs less and nobody prefers latency: calls in flight side by side
    would each write. The requests of a provider's batch do not see what each other writes either: a batch of one request goes first
    and writes for an hour, if the deadline has room for the windows of both along the longest way. Without that one they are not marked.
    No answer changes, and no key under which one is remembered.
    """

    is_for_every_target: ClassVar[bool] = True

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """The graph with a prefix policy on every operation for which one pays."""
        decided = {decision.operation for decision in graph.decisions if decision.pass_name == type(self).__name__}
        calls = [op for op in graph if isinstance(op, LLMOperation) and op.is_mapped and op.func is None and op.id not in decided]
        calls = [call for call in calls if call.prefix is None and not is_local(call)]
        if not calls:
            return graph
        plain = context.estimate(graph)
        task_s = _task_seconds(graph, plain)
        reasons = {call.id: _why_not(call, plain[call.id], task_s[call.id], context.price_book) for call in calls}
        able = [call for call in calls if reasons[call.id] is None]
        ways = _ways(graph, able, context) if able else []
        policies: dict[str, PrefixPolicy] = {}
        for call in able:
            best = _best(call, plain, ways)
            if best is not None:
                policies[call.id] = best
        too_long = _why_not_primed(graph, policies, task_s, ways, context)
        policies = {name: policy for name, policy in policies.items() if name not in too_long}
        result = _marked(graph, policies)
        for call in calls:
            reason = too_long.get(call.id) or reasons[call.id] or "reading what was written would not pay for writing it"
            self._explain(call, reason, graph, result, context)
        return result

    def _explain(self, call: LLMOperation, why_not: str, graph: Graph, result: Graph, context: PassContext) -> None:
        before, after, policy = context.estimate(graph), context.estimate(result), _prefix_of(result[call.id])
        is_batch = goes_through_batch_api(call)
        rule = _BATCH_RULE if is_batch else _RULE
        if policy is None:
            context.decide(self, call.id, why_not, applied=False, rule=rule)
            return
        row = prompt_cache_of(priced_model(call.metadata))
        what = "are marked for the prompt cache" if row is not None and row.needs_marker else "are in the prompt cache"
        reason = f"the {before[call.id].shared_tokens.expected:,.0f} tokens with which its calls begin {what}"
        if policy.prime and is_batch:
            reason += "; a batch of one request of every shard ends before the others are submitted, so that they find them there"
        elif policy.prime:
            reason += "; one call of every shard is answered before the others begin, so that they find them there"
        cost, cost_after = before.cost_usd(call.id), after.cost_usd(call.id)
        saved = None if cost is None or cost_after is None else cost - cost_after
        saved_s = _task_seconds(graph, before)[call.id] - _task_seconds(result, after)[call.id] if is_batch else None
        context.decide(self, call.id, reason, applied=True, rule=rule, saves_usd=saved, saves_s=saved_s)


def _prefix_of(operation: Operation) -> PrefixPolicy | None:
    return operation.prefix if isinstance(operation, LLMOperation) else None


def _task_seconds(graph: Graph, estimates: Estimates) -> dict[str, float]:
    """For every operation, how long its task is expected to take."""
    of_task: dict[tuple[str, str], float] = {}
    for operation in graph:
        key = task_key(operation)
        of_task[key] = of_task.get(key, 0.0) + estimates[operation.id].duration_s.expected
    return {operation.id: of_task[task_key(operation)] for operation in graph}


def _why_not(call: LLMOperation, entry: OperationEstimate, task_s: float, prices: PriceBook) -> str | None:
    """Why a prompt cache is of no use; None when it may be of some."""
    model, is_batch = priced_model(call.metadata), goes_through_batch_api(call)
    row, shared = prompt_cache_of(model), entry.shared_tokens.expected
    if row is None:
        return f"no prompt cache of {call.metadata.provider_name} is known"
    if shared < row.min_tokens:
        return f"its calls begin alike with {shared:,.0f} tokens, and the prompt cache takes {row.min_tokens:,} or more"
    if entry.calls < (pays_from(model, prices, is_batch=is_batch, is_long=is_batch) or 1):
        return "there are too few calls to read what the first one writes"
    if is_batch:
        forgotten = why_forgotten(row, task_s)
        return None if forgotten is None else f"the requests of a batch do not see what each other writes, and {forgotten}"
    if entry.call_latency_s.expected > row.ttl_s:
        return f"a call takes longer than the {row.ttl_s} s for which the cache remembers"
    return None


def _ways(graph: Graph, able: Sequence[LLMOperation], context: PassContext) -> list[_Way]:
    """The ways in which calls may be marked, the plainest first, each with what a run does then."""
    kinds = [{call.id: PrefixPolicy() for call in able if not goes_through_batch_api(call)}]
    is_patient = (context.policy or graph.policy).optimize != "latency"
    primed = {
        call.id: _before_a_batch(call, context.price_book) if goes_through_batch_api(call) else PrefixPolicy(prime=True)
        for call in able
        if is_patient or goes_through_batch_api(call)
    }
    return [(kind, context.estimate(_marked(graph, kind))) for kind in (*kinds, primed) if kind]


def _before_a_batch(call: LLMOperation, prices: PriceBook) -> PrefixPolicy:
    first = pays_from(priced_model(call.metadata), prices, is_batch=True, is_long=True)
    return PrefixPolicy(ttl_s=3600, prime=True, prime_from=2 if first is None else max(2, first))


def _best(call: LLMOperation, plain: Estimates, ways: Sequence[_Way]) -> PrefixPolicy | None:
    """The cheapest way, if it is cheaper than none by a hundredth; the simpler unless the other is cheaper by as much."""
    cost = plain.cost_usd(call.id)
    best: PrefixPolicy | None = None
    for kinds, estimates in ways:
        found = estimates.cost_usd(call.id)
        if call.id in kinds and cost is not None and found is not None and found < cost * (1 - _NOTICEABLE):
            best, cost = kinds[call.id], found
    return best


def _why_not_primed(
    graph: Graph, policies: Mapping[str, PrefixPolicy], task_s: Mapping[str, float], ways: Sequence[_Way], context: PassContext
) -> dict[str, str]:
    """Why batches for which it would pay do not wait for one of one request before them, by operation."""
    batches = [call for call in graph if isinstance(call, LLMOperation) and call.id in policies and goes_through_batch_api(call)]
    if not batches:
        return {}
    plain, (kinds, primed) = context.estimate(graph), ways[-1]
    primed_s = _task_seconds(_marked(graph, kinds), primed)
    considered = [
        Primed(
            call,
            Option("provider_batch", plain.cost_usd(call.id), task_s[call.id], 0),
            Option("provider_batch", primed.cost_usd(call.id), primed_s[call.id], 0),
        )
        for call in batches
    ]
    return why_not_primed(graph, considered, task_s, batch_limits(), context.policy or graph.policy)


def _marked(graph: Graph, policies: Mapping[str, PrefixPolicy]) -> Graph:
    if not policies:
        return graph

    def marked(operation: Operation) -> Operation:
        policy = policies.get(operation.id)
        return operation if policy is None else operation.model_copy(update={"prefix": policy})

    return graph.replace(operations=[marked(operation) for operation in graph])
