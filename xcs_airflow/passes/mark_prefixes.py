"""The pass that lets providers' prompt caches have what the calls of an operation share.

It knows when a cache pays; what a provider's cache takes and costs is `cost/prompt_cache.py`, how it is marked the runtime's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar

from xcs_airflow.cost.figures import OperationEstimate
from xcs_airflow.cost.latency import goes_through_batch_api, is_local
from xcs_airflow.cost.prices import PriceBook
from xcs_airflow.cost.prompt_cache import PromptCache, pays_from, prompt_cache_of
from xcs_airflow.cost.work import priced_model
from xcs_airflow.ir.graph import Graph
from xcs_airflow.ir.llm_ops import LLMOperation, PrefixPolicy
from xcs_airflow.ir.operation import Operation
from xcs_airflow.passes.pipeline import Estimates, PassContext

_RULE = (
    "a write costs 1.25 and a read 0.1 times the price of input, so one read pays for a write "
    "(docs.anthropic.com/en/docs/build-with-claude/prompt-caching); calls that begin together do not see each other's write"
)
_BATCH_RULE = (
    "25 requests of 11,400 shared tokens in one batch read nothing of what they wrote: 0.0816 USD each with markers, 0.0744 without "
    "(github.com/Bike4Mind/bike4mind issue 2741)"
)
_NOTICEABLE = Decimal("0.01")


@dataclass(frozen=True)
class MarkPrefixes:
    """Calls of an operation that begin alike, with enough tokens for their provider's prompt cache, are marked where reading pays.

    The first call is answered before the others begin, if that costs less and nobody prefers latency: calls in flight side by side
    would each write. What goes through a batch API is not marked: its requests do not see what each other writes. No answer changes,
    and no key under which one is remembered.
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
        able = [call for call in calls if _why_not(call, plain[call.id], context.price_book) is None]
        policies: dict[str, PrefixPolicy] = {}
        ways: list[tuple[PrefixPolicy, Estimates]] = []
        if able:
            kinds = [PrefixPolicy()]
            if (context.policy or graph.policy).optimize != "latency":
                kinds.append(PrefixPolicy(prime=True))
            ways = [(kind, context.estimate(_marked(graph, {call.id: kind for call in able}))) for kind in kinds]
        for call in able:
            best = _best(call, plain, ways)
            if best is not None:
                policies[call.id] = best
        result = _marked(graph, policies)
        for call in calls:
            self._explain(call, plain, context.estimate(result), policies.get(call.id), context)
        return result

    def _explain(self, call: LLMOperation, before: Estimates, after: Estimates, policy: PrefixPolicy | None, context: PassContext) -> None:
        rule = _BATCH_RULE if goes_through_batch_api(call) else _RULE
        if policy is None:
            reason = _why_not(call, before[call.id], context.price_book) or "reading what was written would not pay for writing it"
            context.decide(self, call.id, reason, applied=False, rule=rule)
            return
        row = prompt_cache_of(priced_model(call.metadata))
        what = "are marked for the prompt cache" if row is not None and row.needs_marker else "are in the prompt cache"
        reason = f"the {before[call.id].shared_tokens.expected:,.0f} tokens with which its calls begin {what}"
        if policy.prime:
            reason += "; one call of every shard is answered before the others begin, so that they find them there"
        cost, cost_after = before.cost_usd(call.id), after.cost_usd(call.id)
        saved = None if cost is None or cost_after is None else cost - cost_after
        context.decide(self, call.id, reason, applied=True, rule=rule, saves_usd=saved)


def _why_not(call: LLMOperation, entry: OperationEstimate, prices: PriceBook) -> str | None:
    """Why a prompt cache is of no use; None when it may be of some."""
    model = priced_model(call.metadata)
    row, shared = prompt_cache_of(model), entry.shared_tokens.expected
    if row is None:
        return f"no prompt cache of {call.metadata.provider_name} is known"
    if shared < row.min_tokens:
        return f"its calls begin alike with {shared:,.0f} tokens, and the prompt cache takes {row.min_tokens:,} or more"
    if entry.calls < (pays_from(model, prices) or 1):
        return "there are too few calls to read what the first one writes"
    if goes_through_batch_api(call):
        return _why_not_in_a_batch(call, row, prices)
    if entry.call_latency_s.expected > row.ttl_s:
        return f"a call takes longer than the {row.ttl_s} s for which the cache remembers"
    return None


def _why_not_in_a_batch(call: LLMOperation, row: PromptCache, prices: PriceBook) -> str:
    if not row.needs_marker:
        return "the requests of a batch do not wait for each other, and the provider takes what it likes"
    first = pays_from(priced_model(call.metadata), prices, is_batch=True)
    primed = "" if first is None else f"; a batch of one request before it would pay from {first} requests on, but take another window"
    return f"the requests of a batch do not see what each other writes, so marking costs more than it saves{primed}"


def _best(call: LLMOperation, plain: Estimates, ways: Sequence[tuple[PrefixPolicy, Estimates]]) -> PrefixPolicy | None:
    """The cheapest way, if it is cheaper than none by a hundredth; the simpler unless the other is cheaper by as much."""
    cost = plain.cost_usd(call.id)
    best: PrefixPolicy | None = None
    for policy, estimates in ways:
        found = estimates.cost_usd(call.id)
        if cost is not None and found is not None and found < cost * (1 - _NOTICEABLE):
            best, cost = policy, found
    return best


def _marked(graph: Graph, policies: Mapping[str, PrefixPolicy]) -> Graph:
    if not policies:
        return graph

    def marked(operation: Operation) -> Operation:
        policy = policies.get(operation.id)
        return operation if policy is None else operation.model_copy(update={"prefix": policy})

    return graph.replace(operations=[marked(operation) for operation in graph])
