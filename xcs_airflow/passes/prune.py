"""The pass that removes operations whose results nobody uses.

It knows who reads whom; it does not know what an operation does beyond what its author declared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xcs_airflow.ir.graph import Graph, dependencies
from xcs_airflow.ir.llm_ops import LLMOperation
from xcs_airflow.ir.operation import Operation
from xcs_airflow.passes.pipeline import PassContext
from xcs_airflow.values import references

_RULE = "dead code elimination: a result nobody reads may be left out if computing it does nothing else"


@dataclass(frozen=True)
class Prune:
    """Removes operations that nothing reads and that are not part of the output, and then what only they read.

    Plain functions go only when they are declared pure. A model call that the runtime makes itself does nothing but answer, so
    it goes whatever its temperature; a function that asks the model itself must be declared cacheable.
    """

    is_for_every_target: ClassVar[bool] = True

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """The graph without dead operations."""
        used = {ref.operation for ref in references(graph.result())}
        dead: set[str] = set()
        for operation in reversed(graph.in_order()):
            if operation.id not in used and _has_no_effect(operation):
                dead.add(operation.id)
                continue
            if operation.id not in used:
                reason = "nothing reads it, but it is not declared pure and may do more than return a value"
                context.decide(self, operation.id, reason, applied=False, rule=_RULE)
            used.update(dependencies(operation))
        if not dead:
            return graph
        costs = context.costs_usd(graph)
        for operation in graph:
            if operation.id in dead:
                reason = "nothing reads it and it is not part of the output"
                saved = costs[operation.id]
                context.decide(self, operation.id, reason, applied=True, rule=_RULE, saves_usd=saved)
        return graph.replace(operations=[operation for operation in graph if operation.id not in dead])


def _has_no_effect(operation: Operation) -> bool:
    return operation.is_pure or (isinstance(operation, LLMOperation) and operation.func is None)
