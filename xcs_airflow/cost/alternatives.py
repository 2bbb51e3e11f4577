"""Every way in which the calls of a graph may be made, each as it would be made after the best marking for prompt caches.

It knows graphs with all calls made in one way, and their estimates; `choice.py` knows which way is taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from xcs_airflow.cost.batch_limits import BatchLimits
from xcs_airflow.cost.batch_priming import windows_s
from xcs_airflow.cost.choice import Considered, Made, choose, consider
from xcs_airflow.cost.latency import goes_through_batch_api
from xcs_airflow.cost.mechanisms import Choice, may_be_worth_waiting, why_no_batch, why_not_packed
from xcs_airflow.cost.prefixes import Estimated, Marks, markable, marks
from xcs_airflow.cost.prices import PriceBook
from xcs_airflow.ir.graph import Graph, PipelinePolicy
from xcs_airflow.ir.llm_ops import BatchPolicy, LLMOperation, Mechanism


@dataclass(frozen=True)
class Alternatives:
    """What may be decided about the calls of a graph.

    Attributes:
        graph: Whose calls.
        policy: The pipeline's.
        considered: Operations with every way in which their calls may be made.
        seconds: For every operation, how long it takes as it is; a batch that its author chose, as long as it may.
        decided_usd: What all other calls of a run cost.
    """

    graph: Graph
    policy: PipelinePolicy
    considered: tuple[Considered, ...]
    seconds: Mapping[str, float]
    decided_usd: Decimal

    def chosen(self) -> dict[str, Choice]:
        """The way for every operation, by its id."""
        return choose(self.considered, self.graph.in_order(), self.seconds, self.policy, self.decided_usd)

    def without_priming(self, reasons: Mapping[str, str]) -> Alternatives:
        """What is left where batches cannot wait for one of one request before them, with the reason for each operation."""
        left = [item.without_priming(reasons[item.operation.id]) if item.operation.id in reasons else item for item in self.considered]
        return replace(self, considered=tuple(left))


@dataclass(frozen=True)
class Setting:
    """What is known besides a graph.

    Attributes:
        estimated: Estimates a graph.
        prices: The price book.
        limits: What providers' batch APIs take, by the provider's name.
        policy: The pipeline's.
        in_flight: How many calls may wait at a time.
    """

    estimated: Estimated
    prices: PriceBook
    limits: Mapping[str, BatchLimits]
    policy: PipelinePolicy
    in_flight: int


def alternatives(
    graph: Graph, free: Sequence[LLMOperation], live: Sequence[LLMOperation], clusters: Mapping[str, tuple[object, ...]], setting: Setting
) -> Alternatives:
    """Every way in which calls may be made, each operation by itself.

    A graph in which calls begin alike, with enough tokens for a prompt cache, is estimated once more for every way of marking them.

    Args:
        graph: A well-formed graph.
        free: Whose calls nobody has decided about.
        live: Those of them that are compared as they would be made with many in flight.
        clusters: With whom each is decided.
        setting: What else is known.
    """
    as_live = _all_made(graph, dict.fromkeys((operation.id for operation in live), "concurrent"), setting)
    plain = setting.estimated(as_live)
    able: dict[Mechanism, list[LLMOperation]] = {
        "packed": [operation for operation in free if why_not_packed(operation) is None],
        "provider_batch": [
            operation
            for operation in free
            if why_no_batch(operation, plain[operation.id].calls, setting.limits.get(operation.metadata.provider_name)) is None
            and may_be_worth_waiting(plain.cost_usd(operation.id))
        ],
    }
    made: dict[Mechanism, Marks] = {}
    for mechanism, calls in able.items():
        if calls:
            changed = _all_made(graph, dict.fromkeys((operation.id for operation in calls), mechanism), setting)
            made[mechanism] = _marks(changed, {operation.id for operation in calls}, setting)
    # Where calls can be made in one way only, no mark makes a difference.
    unmarked = {operation.id for operation in as_live if isinstance(operation, LLMOperation) and not goes_through_batch_api(operation)}
    known = _marks(as_live, unmarked, setting) if made else Marks(plain, (), {})
    names = {mechanism: {operation.id for operation in calls} for mechanism, calls in able.items()}
    considered = [
        consider(
            operation,
            Made.of(known, operation.id),
            {mechanism: Made.of(found, operation.id) for mechanism, found in made.items() if operation.id in names[mechanism]},
            setting.limits.get(operation.metadata.provider_name),
            setting.policy,
            clusters[operation.id],
        )
        for operation in free
    ]
    free_ids = {operation.id for operation in free}
    others = (known.cost_usd(operation.id) for operation in graph if operation.id not in free_ids)
    seconds = {op.id: windows_s(op, setting.limits) or known[op.id].duration_s.expected for op in graph}
    return Alternatives(graph, setting.policy, tuple(considered), seconds, sum((usd for usd in others if usd is not None), Decimal(0)))


def made_so(operation: LLMOperation, mechanism: Mechanism, group: str, in_flight: int) -> BatchPolicy:
    """How an operation's calls are made in a way, with so many in flight where that matters."""
    if mechanism == "provider_batch":
        return BatchPolicy(group=group, mechanism=mechanism)
    size = operation.metadata.max_pack if mechanism == "packed" else 1
    return BatchPolicy(group=group, mechanism=mechanism, in_flight=in_flight, pack_size=size)


def _all_made(graph: Graph, ways: Mapping[str, Mechanism], setting: Setting) -> Graph:
    """A graph in which some calls are made in a given way, each operation by itself; the same object when there are none."""
    if not ways:
        return graph
    operations = [
        operation.model_copy(update={"batch": made_so(operation, ways[operation.id], operation.id, setting.in_flight)})
        if operation.id in ways and isinstance(operation, LLMOperation)
        else operation
        for operation in graph
    ]
    return graph.replace(operations=operations)


def _marks(graph: Graph, names: set[str], setting: Setting) -> Marks:
    calls = [operation for operation in markable(graph) if operation.id in names]
    return marks(graph, calls, setting.estimated, setting.prices, setting.policy)
