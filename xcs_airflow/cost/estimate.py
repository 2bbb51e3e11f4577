"""What a run of a graph is expected to do: calls, tokens, US dollars and seconds, each as low, expected and high.

It knows how figures of one call add up over items, groups and paths; the figures themselves come from the other modules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import ceil

from xcs_airflow.cost.assumptions import Assumed
from xcs_airflow.cost.figures import Figure, GraphEstimate, MeasuredOperation, Money, OperationEstimate
from xcs_airflow.cost.flow import Flow, Runs
from xcs_airflow.cost.history import Histories, History
from xcs_airflow.cost.latency import call_latency, calls_at_a_time, function_latency, goes_through_batch_api
from xcs_airflow.cost.packing import packed, shared_tokens
from xcs_airflow.cost.prices import PriceBook
from xcs_airflow.cost.profile import PipelineProfile
from xcs_airflow.cost.simulation import Calls, RateLimit, Stage, Work, simulate
from xcs_airflow.cost.tasks import TaskOrder
from xcs_airflow.cost.tokens import CallTokens, call_tokens
from xcs_airflow.ir.graph import Graph, dependencies, toposort
from xcs_airflow.ir.llm_ops import LLMMetadata, LLMOperation
from xcs_airflow.ir.operation import Operation

_NOTHING = Figure.exactly(0, "none")


def estimate(
    graph: Graph,
    prices: PriceBook | None = None,
    profile: PipelineProfile | None = None,
    *,
    limits: Mapping[str, RateLimit] | None = None,
) -> GraphEstimate:
    """What a run is expected to do: with an empty cache, unless earlier runs tell how much of it comes from there.

    An operation of a batch group shares its group's calls in flight: its `duration_s` is its part of the group's duration, so
    the parts add up to the whole.

    Args:
        graph: A well-formed graph.
        prices: The price book; by default that of the pinned data.
        profile: What earlier runs measured; None when nothing was.
        limits: What providers allow, by their names; who is not named has no limit.

    Raises:
        GraphError: Operations or batch groups wait for each other in a circle.
    """
    book = prices or PriceBook.load()
    assumed = Assumed()
    ordered = toposort(graph)
    works = _works(graph, ordered, book, profile, assumed)
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
        measured=tuple(known for operation in graph if (known := works[operation.id].measured) is not None),
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
        live: How many calls are made, some of the answers coming from the cache; None when nobody has measured that.
        history: What earlier runs say; None when they say nothing.
    """

    operation: Operation
    runs: Runs
    calls: int
    tokens: CallTokens | None
    cost_usd: Money
    latency_s: Figure
    items: int | None
    distinct: int | None
    live: Figure | None = None
    history: History | None = None

    @property
    def made(self) -> Figure:
        """How many calls or runs take time and money."""
        return self.live or Figure.exactly(self.rounds)

    @property
    def measured(self) -> MeasuredOperation | None:
        """What is told of its history."""
        return None if self.history is None else self.history.measured(self.made)

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
            input_tokens=_all_calls(self.operation, tokens.input, self.made),
            output_tokens=_all_calls(self.operation, tokens.output, self.made),
            cost_usd=self.cost_usd,
            call_latency_s=self.latency_s,
            duration_s=duration,
            items=self.items,
            distinct_items=self.distinct,
        )


def _works(
    graph: Graph, ordered: Sequence[Operation], prices: PriceBook, profile: PipelineProfile | None, assumed: Assumed
) -> dict[str, _Work]:
    histories = Histories(profile, assumed)
    flow = Flow(graph, assumed, histories)
    return {operation.id: _work(operation, flow, prices, histories, assumed) for operation in ordered}


def _work(operation: Operation, flow: Flow, prices: PriceBook, histories: Histories, assumed: Assumed) -> _Work:
    runs = flow.runs(operation)
    if not isinstance(operation, LLMOperation):
        size = flow.add(operation, runs)
        latency = function_latency(operation, assumed, histories.function_s(operation, runs.items))
        return _Work(operation, runs, 0, None, Money(), latency, size.items, size.distinct)
    history = histories.of(operation)
    calls = _calls_of(operation, runs)
    tokens, answer = _tokens_of(operation, flow, history, calls, assumed)
    live = None
    if history is not None:
        live = history.live_calls(calls, is_remembered=_is_remembered(operation))
        if _is_remembered(operation):
            assumed.use("profile_hits", operation.id)
    one = _cost_of_call(operation, tokens, prices, 0.0 if history is None else history.cached_share)
    cost = one.times(calls) if live is None else one.times_each(live)
    is_same = history is not None and history.pack == operation.items_per_request
    latency = call_latency(operation, tokens.output, assumed, history.call_s if history is not None and is_same else None)
    size = flow.add(operation, runs, answer)
    if operation.when is not None:  # At best it is skipped.
        cost = cost.model_copy(update={"low": Decimal(0)})
    return _Work(operation, runs, calls, tokens, cost, latency, size.items, size.distinct, live, history)


def _is_remembered(operation: LLMOperation) -> bool:
    return operation.cache is not None and operation.func is None


def _calls_of(operation: LLMOperation, runs: Runs) -> int:
    """How many calls are made with an empty cache."""
    asked = min(runs.items, runs.distinct) if _is_remembered(operation) and runs.distinct is not None else runs.items
    return ceil(asked / operation.items_per_request)


def _tokens_of(operation: LLMOperation, flow: Flow, history: History | None, calls: int, assumed: Assumed) -> tuple[CallTokens, Figure]:
    """The tokens of one call, and those of the answer for one item. What was measured of single items is put together in packs."""
    known = (None, None) if history is None else (history.input_tokens(calls), history.output_tokens(calls))
    tokens = call_tokens(operation, lambda: flow.input_tokens(operation), assumed, known)
    together = operation.items_per_request
    if together == 1:
        return tokens, tokens.output
    if history is not None and history.pack == together:
        return tokens, tokens.output.times(1 / together)
    return packed(operation, tokens, shared_tokens(operation, flow.input_tokens(operation)), assumed), tokens.output


def _cost_of_call(operation: LLMOperation, tokens: CallTokens, prices: PriceBook, cached_share: float) -> Money:
    data, is_batch = operation.metadata, goes_through_batch_api(operation)
    if data.estimated_cost_usd is not None:
        # What the author gave is the price of one item, and nobody knows what a request for many costs less.
        return Money(low=data.estimated_cost_usd, expected=data.estimated_cost_usd, high=data.estimated_cost_usd).times(
            operation.items_per_request
        )
    model = priced_model(data)
    amounts = {
        end: prices.mean_price(model, into, out, 0.0 if end == "high" else into * cached_share, is_batch=is_batch)
        for end, into, out in ((end, getattr(tokens.input, end), getattr(tokens.output, end)) for end in ("low", "expected", "high"))
    }
    if any(amount is None for amount in amounts.values()):
        return Money(unknown=(model,))
    return Money(**amounts)


def _all_calls(operation: Operation, figure: Figure, calls: Figure) -> Figure:
    low = 0 if operation.when is not None else figure.low * calls.low
    return Figure(low=low, expected=figure.expected * calls.expected, high=figure.high * calls.high, source=figure.source)


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
        Calls(getattr(work.made, end), getattr(latency, end), getattr(tokens.input, end) + getattr(tokens.output, end), provider)
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
