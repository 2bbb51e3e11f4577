"""How the calls of a graph are best marked for providers' prompt caches, whichever way they are made.

It knows which calls can be marked, in which ways, and which of those pays. What a cache takes and costs is `prompt_cache.py`, whether a
batch may wait for one before it `batch_priming.py`. Who decides how calls are made and who marks them ask here, so that they agree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple, Protocol

from xcs_airflow.cost.batch_limits import batch_limits
from xcs_airflow.cost.batch_priming import Primed, why_forgotten, why_not_primed
from xcs_airflow.cost.figures import OperationEstimate
from xcs_airflow.cost.latency import goes_through_batch_api, is_local
from xcs_airflow.cost.mechanisms import Option
from xcs_airflow.cost.prices import PriceBook
from xcs_airflow.cost.prompt_cache import pays_from, prompt_cache_of
from xcs_airflow.cost.work import priced_model
from xcs_airflow.ir.graph import Graph, PipelinePolicy
from xcs_airflow.ir.grouping import task_key
from xcs_airflow.ir.llm_ops import LLMOperation, PrefixPolicy
from xcs_airflow.ir.operation import Operation

_NOTICEABLE = Decimal("0.01")


class Figures(Protocol):
    """What a run is expected to do, by operation."""

    def __getitem__(self, operation_id: str, /) -> OperationEstimate:
        """All figures of an operation."""

    def cost_usd(self, operation_id: str, /) -> Decimal | None:
        """The expected cost of its calls; None when it is not known, or when it makes none."""


Estimated = Callable[[Graph], Figures]
"""Estimates a graph."""


class Way(NamedTuple):
    """One way of marking calls.

    Attributes:
        policies: How operations are marked, by their ids.
        figures: What a run does then.
    """

    policies: Mapping[str, PrefixPolicy]
    figures: Figures


@dataclass(frozen=True)
class Marks:
    """Calls of a graph as they are, and in every way of marking them that may pay.

    Attributes:
        plain: What a run does when none of them is marked.
        ways: The ways, the plainest first; none where no prompt cache is of use.
        useless: Why a prompt cache is of no use, for every call for which it is not.
    """

    plain: Figures
    ways: Sequence[Way]
    useless: Mapping[str, str]

    def policy(self, name: str) -> PrefixPolicy | None:
        """How an operation is best marked; None when not at all."""
        way = self._best(name)
        return None if way is None else way.policies[name]

    def __getitem__(self, name: str) -> OperationEstimate:
        """What an operation does when it is best marked."""
        way = self._best(name)
        return (self.plain if way is None else way.figures)[name]

    def cost_usd(self, name: str) -> Decimal | None:
        """What its calls cost then; None when that is not known, or when it makes none."""
        way = self._best(name)
        return (self.plain if way is None else way.figures).cost_usd(name)

    def _best(self, name: str) -> Way | None:
        """The cheapest way, if it is cheaper than none by a hundredth; the simpler unless the other is cheaper by as much."""
        best, cost = None, self.plain.cost_usd(name)
        for way in self.ways:
            found = way.figures.cost_usd(name) if name in way.policies else None
            if cost is not None and found is not None and found < cost * (1 - _NOTICEABLE):
                best, cost = way, found
        return best


class Marking(NamedTuple):
    """What is marked.

    Attributes:
        policies: How, by operation.
        reasons: Why not, for every other call.
    """

    policies: Mapping[str, PrefixPolicy]
    reasons: Mapping[str, str]


def markable(graph: Graph) -> list[LLMOperation]:
    """Calls that may begin alike, and that nobody has marked."""
    calls = [operation for operation in graph if isinstance(operation, LLMOperation) and operation.is_mapped and operation.func is None]
    return [call for call in calls if call.prefix is None and not is_local(call)]


def marks(graph: Graph, calls: Sequence[LLMOperation], estimated: Estimated, prices: PriceBook, policy: PipelinePolicy) -> Marks:
    """Calls as they are, and in every way of marking them that may pay; the graph is estimated once for each of these.

    Args:
        graph: With all calls made as they are going to be.
        calls: Those of its operations that may be marked.
        estimated: Estimates it.
        prices: The price book.
        policy: What to prefer: nobody who prefers latency waits for one of many live calls.
    """
    plain = estimated(graph)
    useless = {call.id: why for call in calls if (why := _why_not(call, plain[call.id], prices)) is not None}
    if any(goes_through_batch_api(call) for call in calls if call.id not in useless):
        useless |= _forgotten([call for call in calls if call.id not in useless], task_seconds(graph, plain))
    able = [call for call in calls if call.id not in useless]
    batches = {call.id: _before_a_batch(call, prices) for call in able if goes_through_batch_api(call)}
    live = [call.id for call in able if call.id not in batches]
    primed = {} if policy.optimize == "latency" else dict.fromkeys(live, PrefixPolicy(prime=True))
    kinds = [dict.fromkeys(live, PrefixPolicy()), primed | batches]
    return Marks(plain, [Way(kind, estimated(marked(graph, kind))) for kind in kinds if kind], useless)


def best_marking(graph: Graph, calls: Sequence[LLMOperation], found: Marks, policy: PipelinePolicy) -> Marking:
    """How every call is marked, where the deadline has room for the batches that have to wait.

    Args:
        graph: With all calls made as they are going to be.
        calls: Those of its operations that may be marked.
        found: The ways of marking them.
        policy: Objective and deadline.
    """
    policies = {call.id: best for call in calls if (best := found.policy(call.id)) is not None}
    batches = [call for call in calls if call.id in policies and goes_through_batch_api(call)]
    reasons = _why_not_primed(graph, batches, found, policy) if batches else {}
    policies = {name: best for name, best in policies.items() if name not in reasons}
    others = {call.id: "reading what was written would not pay for writing it" for call in calls if call.id not in policies}
    return Marking(policies, {**others, **found.useless, **reasons})


def marked(graph: Graph, policies: Mapping[str, PrefixPolicy]) -> Graph:
    """A graph with operations marked; the same object when none is."""
    if not policies:
        return graph

    def with_mark(operation: Operation) -> Operation:
        policy = policies.get(operation.id)
        return operation if policy is None else operation.model_copy(update={"prefix": policy})

    return graph.replace(operations=[with_mark(operation) for operation in graph])


def task_seconds(graph: Graph, figures: Figures) -> dict[str, float]:
    """For every operation, how long its task is expected to take."""
    of_task: dict[tuple[str, str], float] = {}
    for operation in graph:
        key = task_key(operation)
        of_task[key] = of_task.get(key, 0.0) + figures[operation.id].duration_s.expected
    return {operation.id: of_task[task_key(operation)] for operation in graph}


def _why_not(call: LLMOperation, entry: OperationEstimate, prices: PriceBook) -> str | None:
    """Why a prompt cache is of no use, however long a batch takes; None when it may be of some."""
    model, is_batch = priced_model(call.metadata), goes_through_batch_api(call)
    row, shared = prompt_cache_of(model), entry.shared_tokens.expected
    if row is None:
        return f"no prompt cache of {call.metadata.provider_name} is known"
    if shared < row.min_tokens:
        return f"its calls begin alike with {shared:,.0f} tokens, and the prompt cache takes {row.min_tokens:,} or more"
    if entry.calls < (pays_from(model, prices, is_batch=is_batch, is_long=is_batch) or 1):
        return "there are too few calls to read what the first one writes"
    if not is_batch and entry.call_latency_s.expected > row.ttl_s:
        return f"a call takes longer than the {row.ttl_s} s for which the cache remembers"
    return None


def _forgotten(calls: Sequence[LLMOperation], task_s: Mapping[str, float]) -> dict[str, str]:
    """Why batches would find nothing of what one before them wrote, for those that would not."""
    reasons: dict[str, str] = {}
    for call in calls:
        row = prompt_cache_of(priced_model(call.metadata))
        forgotten = None if row is None or not goes_through_batch_api(call) else why_forgotten(row, task_s[call.id])
        if forgotten is not None:
            reasons[call.id] = f"the requests of a batch do not see what each other writes, and {forgotten}"
    return reasons


def _before_a_batch(call: LLMOperation, prices: PriceBook) -> PrefixPolicy:
    first = pays_from(priced_model(call.metadata), prices, is_batch=True, is_long=True)
    return PrefixPolicy(ttl_s=3600, prime=True, prime_from=2 if first is None else max(2, first))


def _why_not_primed(graph: Graph, batches: Sequence[LLMOperation], found: Marks, policy: PipelinePolicy) -> dict[str, str]:
    """Why batches for which it would pay do not wait for one of one request before them, by operation."""
    primed = found.ways[-1]
    task_s, primed_s = task_seconds(graph, found.plain), task_seconds(marked(graph, primed.policies), primed.figures)
    considered = [
        Primed(
            call,
            Option("provider_batch", found.plain.cost_usd(call.id), task_s[call.id], 0),
            Option("provider_batch", primed.figures.cost_usd(call.id), primed_s[call.id], 0),
        )
        for call in batches
    ]
    return why_not_primed(graph, considered, task_s, batch_limits(), policy)
