"""The pass that decides which answers are remembered.

It knows what authors declare about their calls; it does not know keys or stores, which are the runtime's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xcs_airflow.ir.graph import Graph
from xcs_airflow.ir.llm_ops import CachePolicy, LLMOperation
from xcs_airflow.ir.operation import Operation
from xcs_airflow.passes.pipeline import Estimates, PassContext

_RULE = "an answer is remembered only where the author declared that the same request may get the same answer"


@dataclass(frozen=True)
class CacheInsertionPass:
    """Answers of calls that are declared deterministic are remembered, within a run and between runs.

    What counts is declared, never guessed: `cacheable=True`, or a temperature of 0, or a seed; `cacheable=False` always wins.
    A policy that is there already stays. A function that asks the model itself is left alone: its requests, which would be the
    keys, are never seen by the runtime, and its inputs alone do not tell when its code changed.

    Attributes:
        ttl_s: For how many seconds an answer is good; None means for ever.
        epoch: A word that enters every key: change it to forget everything.
    """

    ttl_s: int | None = None
    epoch: str = ""
    is_for_every_target: ClassVar[bool] = True

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """The graph with a cache policy on every call that may have one."""
        policy = CachePolicy(ttl_s=self.ttl_s, epoch=self.epoch)
        operations = [_cached(operation, policy) for operation in graph]
        is_same = all(new is old for new, old in zip(operations, graph, strict=True))
        result = graph if is_same else graph.replace(operations=operations)
        estimates = None if is_same else _before_and_after(graph, result, context)
        for operation in graph:
            if isinstance(operation, LLMOperation):
                self._explain(operation, estimates, context)
        return result

    def _explain(self, operation: LLMOperation, estimates: tuple[Estimates, Estimates] | None, context: PassContext) -> None:
        if operation.cache is not None:
            context.decide(self, operation.id, "it has a cache policy already", applied=False, rule=_RULE)
            return
        reason = _why(operation)
        if estimates is None or not _is_cacheable(operation):
            context.decide(self, operation.id, reason, applied=False, rule=_RULE)
            return
        old, new = estimates
        repeats = old[operation.id].calls - new[operation.id].calls
        if repeats:
            reason += f"; {repeats} of {old[operation.id].calls} calls are expected to repeat another"
        known = new.measured.get(operation.id)
        if known is not None and known.hit_share:
            reason += f"; earlier runs found {known.hit_share:.0%} of the answers there"
        cost, cost_after = old.cost_usd(operation.id), new.cost_usd(operation.id)
        context.decide(
            self,
            operation.id,
            reason,
            applied=True,
            rule=_RULE,
            saves_usd=None if cost is None or cost_after is None else cost - cost_after,
            saves_s=old[operation.id].duration_s.expected - new[operation.id].duration_s.expected,
        )


def _before_and_after(before: Graph, after: Graph, context: PassContext) -> tuple[Estimates, Estimates]:
    """What runs are expected to do. Where no answer is there before and no call repeats another, a cache changes nothing."""
    new = context.estimate(after)
    is_of_use = context.profile is not None or any(new[operation.id].calls != new[operation.id].calls_before for operation in after)
    return (context.estimate(before) if is_of_use else new), new


def _cached(operation: Operation, policy: CachePolicy) -> Operation:
    if isinstance(operation, LLMOperation) and operation.cache is None and _is_cacheable(operation):
        return operation.model_copy(update={"cache": policy})
    return operation


def _is_cacheable(operation: LLMOperation) -> bool:
    return operation.metadata.is_deterministic and operation.func is None


def _why(operation: LLMOperation) -> str:
    data = operation.metadata
    if operation.func is not None:
        return f"{operation.func} asks the model itself, so there is no request to remember its answer by"
    if data.cacheable is not None:
        return f"declared cacheable={data.cacheable}"
    if data.temperature == 0:
        return "its temperature is 0"
    if data.seed is not None:
        return f"its seed is {data.seed}"
    shown = "not set" if data.temperature is None else f"{data.temperature:g}"
    return f"its temperature is {shown}, so the same request may get another answer; cacheable=True would allow it"
