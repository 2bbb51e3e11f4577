"""What a run of a graph is expected to do: calls, tokens, US dollars and seconds, each as low, expected and high.

It knows how figures of one call add up over items, groups and paths; the figures themselves come from the other modules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import ceil

from xcs_airflow.cost.assumptions import Assumed
from xcs_airflow.cost.figures import Figure, GraphEstimate, Money, OperationEstimate
from xcs_airflow.cost.flow import Flow, Runs
from xcs_airflow.cost.latency import call_latency, calls_at_a_time, function_latency, goes_through_batch_api
from xcs_airflow.cost.packing import packed, shared_tokens
from xcs_airflow.cost.prices import PriceBook
from xcs_airflow.cost.simulation import Calls, RateLimit, Stage, Work, simulate
from xcs_airflow.cost.tasks import TaskOrder
from xcs_airflow.cost.tokens import CallTokens, call_tokens
from xcs_airflow.ir.graph import Graph, dependencies, toposort
from xcs_airflow.ir.llm_ops import LLMMetadata, LLMOperation
from xcs_airflow.ir.operation import Operation

_NOTHING = Figure.exactly(0, "none")


def estimate(graph: Graph, prices: PriceBook | None = None, *, limits: Mapping[str, RateLimit] | None = None) -> GraphEstimate:
    """What a run is expected to do, with an empty cache.

    An operation of a batch group shares its group's calls in flight: its `duration_s` is its part of the group's duration, so
    the parts add up to the whole.

    Args:
        graph: A well-formed graph.
        prices: The price book; by default that of the pinned data.
        limits: What providers allow, by their names; who is not named has no limit.

    Raises:
        GraphError: Operations or batch groups wait for each other in a circle.
    """
    book = prices or PriceBook.load()
    assumed = Assumed()
    ordered = toposort(graph)
    works = _works(graph, ordered, book, assumed)
    order = TaskOrder(ordered)
    members: dict[int, list[_Work]] = {}
    for operation in ordered:
        members.setdefault(order.task_of[operation.id], []).append(works[operation.id])
    tasks = {task: _task_works(group, assumed, limits or {}) for task, group in members.items()}
    parts = {name: part for task in tasks.values() for name, part in task.parts.items()}
    entries = {operation.id: works[operation.id].entry(parts[operation.id]) for operation in ordered}
    assumed.use("task_start")
    return GraphEstimate(
        operations=tuple(entries[operation.id] for operation in graph),
        calls_before=sum(entry.calls_before for entry in entries.values()),
        calls=sum(entry.calls for entry in entries.values()),
        input_tokens=Figure.total(entry.input_tokens for entry in entries.values()),
        output_tokens=Figure.total(entry.output_tokens for entry in entries.values()),
        cost_usd=Money.total(entry.cost_usd for entry in entries.values()),
        duration_s=_makespan(order, tasks, limits or {}),
        assumptions=assumed.sentences(),
        prices=book.source,
    )


def priced_model(data: LLMMetadata) -> str:
    """The name a model has in price books: `provider/name`, or a bare name when its provider is unknown."""
    return data.model if data.provider is None else f"{data.provider_name}/{data.model_name}"


@dataclass(frozen=True)
class _Work:
    """What one operation does, before it is known who else shares its task.

    Attributes:
        operation: Who.
        runs: How often it would run without any pass.
        calls: How many model calls remain.
        tokens: Of one call; None for a plain function.
        cost_usd: Of all calls.
        latency_s: Of one call, or of one run of a plain function.
        items: Of its result.
        distinct: Of its result.
    """

    operation: Operation
    runs: Runs
    calls: int
    tokens: CallTokens | None
    cost_usd: Money
    latency_s: Figure
    items: int | None
    distinct: int | None

    @property
    def rounds(self) -> int:
        """How many calls or runs take time."""
        return self.runs.items if self.tokens is None else self.calls

    def entry(self, duration: Figure) -> OperationEstimate:
        """The public form."""
        tokens = self.tokens or CallTokens(_NOTHING, _NOTHING)
        return OperationEstimate(
            operation=self.operation.id,
            calls_before=0 if self.tokens is None else self.runs.items,
            calls=self.calls,
            input_tokens=_all_calls(self.operation, tokens.input, self.calls),
            output_tokens=_all_calls(self.operation, tokens.output, self.calls),
            cost_usd=self.cost_usd,
            call_latency_s=self.latency_s,
            duration_s=duration,
            items=self.items,
            distinct_items=self.distinct,
        )


def _works(graph: Graph, ordered: Sequence[Operation], prices: PriceBook, assumed: Assumed) -> dict[str, _Work]:
    flow = Flow(graph, assumed)
    return {operation.id: _work(operation, flow, prices, assumed) for operation in ordered}


def _work(operation: Operation, flow: Flow, prices: PriceBook, assumed: Assumed) -> _Work:
    runs = flow.runs(operation)
    if not isinstance(operation, LLMOperation):
        size = flow.add(operation, runs)
        return _Work(operation, runs, 0, None, Money(), function_latency(operation, assumed), size.items, size.distinct)
    tokens = call_tokens(operation, lambda: flow.input_tokens(operation), assumed)
    answer = tokens.output
    is_remembered = operation.cache is not None and operation.func is None
    calls = min(runs.items, runs.distinct) if is_remembered and runs.distinct is not None else runs.items
    if operation.items_per_request > 1:
        tokens = packed(operation, tokens, shared_tokens(operation, flow.input_tokens(operation)), assumed)
        calls = ceil(calls / operation.items_per_request)
    cost = _cost_of_call(operation, tokens, prices).times(calls)
    latency = call_latency(operation, tokens.output, assumed)
    size = flow.add(operation, runs, answer)
    if operation.when is not None:  # At best it is skipped.
        cost = cost.model_copy(update={"low": Decimal(0)})
    return _Work(operation, runs, calls, tokens, cost, latency, size.items, size.distinct)


def _cost_of_call(operation: LLMOperation, tokens: CallTokens, prices: PriceBook) -> Money:
    data, is_batch = operation.metadata, goes_through_batch_api(operation)
    if data.estimated_cost_usd is not None:
        # What the author gave is the price of one item, and nobody knows what a request for many costs less.
        return Money(low=data.estimated_cost_usd, expected=data.estimated_cost_usd, high=data.estimated_cost_usd).times(
            operation.items_per_request
        )
    model = priced_model(data)
    amounts = {
        end: prices.price(model, round(getattr(tokens.input, end)), round(getattr(tokens.output, end)), is_batch=is_batch)
        for end in ("low", "expected", "high")
    }
    if any(amount is None for amount in amounts.values()):
        return Money(unknown=(model,))
    return Money(**amounts)


def _all_calls(operation: Operation, figure: Figure, calls: int) -> Figure:
    low = 0 if operation.when is not None else figure.low * calls
    return Figure(low=low, expected=figure.expected * calls, high=figure.high * calls, source=figure.source)


def _stages_of(members: Sequence[_Work]) -> list[list[_Work]]:
    """What operations of one task do one after the other: model calls that do not wait for each other are in flight side by side."""
    level: dict[str, int] = {}
    stages: dict[tuple[int, str], list[_Work]] = {}
    for work in members:
        operation = work.operation
        level[operation.id] = max((level[need] + 1 for need in dependencies(operation) if need in level), default=0)
        side_by_side = "" if work.tokens is not None else operation.id
        stages.setdefault((level[operation.id], side_by_side), []).append(work)
    return [stages[key] for key in sorted(stages, key=lambda key: key[0])]


@dataclass(frozen=True)
class _TaskWorks:
    """What one task does, at best, as expected and at worst, and what each of its operations has of that.

    Attributes:
        ends: Work at best, as expected and at worst.
        parts: The duration of every operation; the parts of a task add up to its work.
    """

    ends: tuple[Work, Work, Work]
    parts: dict[str, Figure]


def _task_works(members: Sequence[_Work], assumed: Assumed, limits: Mapping[str, RateLimit]) -> _TaskWorks:
    if any(goes_through_batch_api(work.operation) for work in members):
        return _waited_for(members, assumed)
    shards = max(work.operation.shards or 1 for work in members)
    stages = _stages_of(members)
    parts: dict[str, Figure] = {}
    ends: list[list[Stage]] = [[], [], []]
    for together in stages:
        in_flight = max(calls_at_a_time(work.operation, assumed) for work in together)
        kinds = [_calls(work) for work in together]
        shares = []
        for end, of_end in enumerate(ends):
            stage = Stage(tuple(kind[end] for kind in kinds), in_flight)
            of_end.append(stage)
            seconds = max(stage.seconds(shards), stage.served_s(limits))
            busy = sum(kind.count * kind.latency_s for kind in stage.calls)
            shares.append([seconds * kind.count * kind.latency_s / busy if busy else 0.0 for kind in stage.calls])
        for index, work in enumerate(together):
            low, expected, high = (share[index] for share in shares)
            parts[work.operation.id] = Figure(low=low, expected=expected, high=high)
    low_work, expected_work, high_work = (Work(tuple(of_end), shards) for of_end in ends)
    return _TaskWorks((low_work, expected_work, high_work), parts)


def _calls(work: _Work) -> tuple[Calls, Calls, Calls]:
    """The calls or runs of an operation at best, as expected and at worst. At best, what has a condition is skipped."""
    provider = work.operation.metadata.provider_name if isinstance(work.operation, LLMOperation) else ""
    tokens, latency = work.tokens or CallTokens(_NOTHING, _NOTHING), work.latency_s
    low, expected, high = (
        Calls(work.rounds, getattr(latency, end), getattr(tokens.input, end) + getattr(tokens.output, end), provider)
        for end in ("low", "expected", "high")
    )
    return low if work.operation.when is None else Calls(0, 0.0), expected, high


def _waited_for(members: Sequence[_Work], assumed: Assumed) -> _TaskWorks:
    """Operations whose calls go through a provider's batch API wait for the batch; each has its part of that."""
    rounds = sum(work.rounds for work in members)
    parts = {}
    for work in members:
        batch, share = assumed.use("provider_batch_s", work.operation.id), work.rounds / max(rounds, 1)
        low = 0 if work.operation.when is not None else batch.low * share
        parts[work.operation.id] = Figure(low=low, expected=batch.expected * share, high=batch.high * share, source="assumed")
    whole = Figure.total(parts.values())
    low_work, expected_work, high_work = (Work(waits_s=seconds) for seconds in (whole.low, whole.expected, whole.high))
    return _TaskWorks((low_work, expected_work, high_work), parts)


def _makespan(order: TaskOrder, tasks: Mapping[int, _TaskWorks], limits: Mapping[str, RateLimit]) -> Figure:
    """When the last task has ended; at best, as expected and at worst may go different ways."""
    low, expected, high = (simulate(order, {task: works.ends[end] for task, works in tasks.items()}, limits).makespan_s for end in range(3))
    return Figure(low=min(low, expected), expected=expected, high=max(expected, high))
