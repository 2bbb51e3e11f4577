"""The pass that lets providers' prompt caches have what the calls of an operation share.

It knows the calls that are to be marked; when a mark pays is `cost/prefixes.py`, how one is written the runtime's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xcs_airflow.cost.latency import goes_through_batch_api
from xcs_airflow.cost.prefixes import best_marking, markable, marked, marks, task_seconds
from xcs_airflow.cost.prompt_cache import prompt_cache_of
from xcs_airflow.cost.work import priced_model
from xcs_airflow.ir.graph import Graph
from xcs_airflow.ir.llm_ops import LLMOperation, PrefixPolicy
from xcs_airflow.ir.operation import Operation
from xcs_airflow.passes.pipeline import PassContext

_RULE = (
    "a write costs 1.25 and a read 0.1 times the price of input, so one read pays for a write "
    "(docs.anthropic.com/en/docs/build-with-claude/prompt-caching); calls that begin together do not see each other's write"
)
_BATCH_RULE = (
    "25 requests of 11,400 shared tokens in one batch read nothing of what they wrote: 0.0816 USD each with markers, 0.0744 without, and "
    "0.0484 after a batch of one request (github.com/Bike4Mind/bike4mind issue 2741); to be written for an hour "
    "(platform.claude.com/docs/en/build-with-claude/prompt-caching#cache-storage-and-sharing); the windows along a path add up"
)


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
        calls = [call for call in markable(graph) if call.id not in decided]
        if not calls:
            return graph
        policy = context.policy or graph.policy
        policies, reasons = best_marking(graph, calls, marks(graph, calls, context.estimate, context.price_book, policy), policy)
        result = marked(graph, policies)
        for call in calls:
            self._explain(call, reasons.get(call.id, ""), graph, result, context)
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
        saved_s = task_seconds(graph, before)[call.id] - task_seconds(result, after)[call.id] if is_batch else None
        context.decide(self, call.id, reason, applied=True, rule=rule, saves_usd=saved, saves_s=saved_s)


def _prefix_of(operation: Operation) -> PrefixPolicy | None:
    return operation.prefix if isinstance(operation, LLMOperation) else None
