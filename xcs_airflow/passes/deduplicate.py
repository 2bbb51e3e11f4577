"""The pass that computes the same thing once.

It knows what makes two operations the same call; it does not know duplicates among items, which the cache finds at run time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from xcs_airflow.ir.graph import Graph
from xcs_airflow.ir.identity import what_it_computes
from xcs_airflow.ir.llm_ops import LLMOperation
from xcs_airflow.ir.operation import Operation
from xcs_airflow.passes.pipeline import PassContext
from xcs_airflow.values import Ref, rewrite

_RULE = "common subexpression elimination: equal calls of equal inputs, where the author declared that they give equal results"


@dataclass(frozen=True)
class Deduplicate:
    """Identical pure calls become one: the first stays, and whoever reads another reads it instead.

    Two calls are identical when the function or prompt, the inputs, how they are mapped, the condition, the environment and
    everything that enters a request are equal. What is only estimated or written for people does not matter. Operations are
    compared in topological order, after the references of each were changed, so whole chains collapse.
    """

    is_for_every_target: ClassVar[bool] = True

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """The graph with every pure call made once."""
        first: dict[tuple[object, ...], Operation] = {}
        kept: dict[str, Operation] = {}
        stands_for: dict[str, str] = {}
        for operation in graph.in_order():
            changed = _redirected(operation, stands_for)
            call = _call(changed)
            twin = first.get(call)
            if twin is not None and twin.is_pure and changed.is_pure:
                stands_for[operation.id] = twin.id
                continue
            kept[operation.id] = changed
            if twin is None or changed.is_pure:
                first[call] = changed
            else:
                reason = f"the same call as %{twin.id}, but it is not declared that it gives the same result twice"
                context.decide(self, operation.id, reason, applied=False, rule=_RULE)
        if not stands_for:
            return graph
        costs = context.costs_usd(graph)
        for name, twin_id in stands_for.items():
            saved = costs[name]
            context.decide(self, name, f"the same call as %{twin_id}", applied=True, rule=_RULE, saves_usd=saved)
        output = rewrite(graph.result(), lambda ref: _instead(ref, stands_for))
        return graph.replace(operations=[kept[operation.id] for operation in graph if operation.id in kept], output=output)


def _redirected(operation: Operation, stands_for: Mapping[str, str]) -> Operation:
    """The operation, reading what stands for what it read."""
    inputs = {name: rewrite(value, lambda ref: _instead(ref, stands_for)) for name, value in operation.inputs.items()}
    when = None if operation.when is None else rewrite(operation.when, lambda ref: _instead(ref, stands_for))
    if when is operation.when and all(inputs[name] is value for name, value in operation.inputs.items()):
        return operation
    return operation.model_copy(update={"inputs": inputs, "when": when})


def _instead(ref: Ref, stands_for: Mapping[str, str]) -> Ref:
    twin = stands_for.get(ref.operation)
    return ref if twin is None else ref.model_copy(update={"operation": twin})


def _call(operation: Operation) -> tuple[object, ...]:
    """Everything a result depends on."""
    return (what_it_computes(operation), operation.image, operation.cache if isinstance(operation, LLMOperation) else None)
