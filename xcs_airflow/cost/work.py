"""What one operation does in a run: how often it runs, its calls with their tokens and money, and how long one of them takes.

It knows one operation and what it reads; it does not know who else shares its task.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from math import ceil
from typing import NamedTuple

from xcs_airflow.cost.assumptions import Assumed
from xcs_airflow.cost.figures import NOTHING, Figure, MeasuredOperation, Money, OperationEstimate
from xcs_airflow.cost.flow import Flow, Runs
from xcs_airflow.cost.history import Histories, History
from xcs_airflow.cost.latency import Timed, call_latency, function_latency, goes_through_batch_api
from xcs_airflow.cost.memory import Found, Memory
from xcs_airflow.cost.packing import packed, shared_tokens
from xcs_airflow.cost.prices import PriceBook
from xcs_airflow.cost.profile import PipelineProfile
from xcs_airflow.cost.prompt_cache import Calls, less, prompt_cache_of, saved_usd
from xcs_airflow.cost.tokens import CallTokens, call_tokens
from xcs_airflow.ir.graph import Graph, dependencies
from xcs_airflow.ir.llm_ops import LLMMetadata, LLMOperation, PrefixPolicy
from xcs_airflow.ir.operation import Operation


def priced_model(data: LLMMetadata) -> str:
    """The name a model has in price books: `provider/name`, or a bare name when its provider is unknown."""
    return data.model if data.provider is None else f"{data.provider_name}/{data.model_name}"


class OperationWork(NamedTuple):
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
        shared: With how many tokens of input all its calls begin alike.
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
    shared: Figure = NOTHING
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
        tokens, made = self.tokens or CallTokens(NOTHING, NOTHING), self.made
        return OperationEstimate(
            operation=self.operation.id,
            calls_before=0 if self.tokens is None else self.runs.items,
            calls=self.calls,
            input_tokens=_all_calls(self.operation, tokens.input, made),
            output_tokens=_all_calls(self.operation, tokens.output, made),
            cost_usd=self.cost_usd,
            shared_tokens=self.shared,
            call_latency_s=self.latency_s,
            duration_s=duration,
            items=self.items,
            distinct_items=self.distinct,
        )


def works(
    graph: Graph,
    ordered: Sequence[Operation],
    prices: PriceBook,
    profile: PipelineProfile | None,
    assumed: Assumed,
    memory: Memory | None = None,
) -> dict[str, OperationWork]:
    """What every operation does, by its id.

    Args:
        graph: A well-formed graph.
        ordered: Its operations, each after all it reads.
        prices: The price book.
        profile: What earlier runs measured; None when nothing was.
        assumed: Takes note of what is guessed.
        memory: What is known from earlier estimates; takes note of what is computed.
    """
    histories = Histories(profile, assumed)
    flow = Flow(graph, assumed, histories)
    memory = Memory() if memory is None else memory
    memory.begin(graph.parameters, prices, profile)
    done: dict[str, OperationWork] = {}
    for operation in ordered:
        reads = tuple(flow.results.get(need) for need in dependencies(operation))
        found = memory.find(operation, reads)
        if found is None:
            mark = len(assumed.uses)
            work = _work(operation, flow, prices, histories, assumed)
            memory.keep(operation, reads, Found(work, flow.results[operation.id], tuple(assumed.uses[mark:])))
        else:
            work = found.work
            flow.take(operation.id, found.result)
            assumed.uses += found.uses
        done[operation.id] = work
    return done


def _work(operation: Operation, flow: Flow, prices: PriceBook, histories: Histories, assumed: Assumed) -> OperationWork:
    runs = flow.runs(operation)
    if not isinstance(operation, LLMOperation):
        size = flow.add(operation, runs)
        latency = function_latency(operation, assumed, histories.function_s(operation, runs.items))
        return OperationWork(operation, runs, 0, None, Money(), latency, size.items, size.distinct)
    history = histories.of(operation)
    calls = _calls_of(operation, runs)
    shared = shared_tokens(operation, flow.input_tokens(operation)) if operation.is_mapped and operation.prompt is not None else NOTHING
    tokens, answer = _tokens_of(operation, flow, history, calls, shared, assumed)
    live = None
    if history is not None:
        live = history.live_calls(calls, is_remembered=_is_remembered(operation))
        if _is_remembered(operation):
            assumed.use("profile_hits", operation.id)
    cost = _cost_of_calls(operation, tokens, shared, calls if live is None else live, history, prices, assumed)
    latency = call_latency(operation, tokens.output, assumed, _timed(operation, history))
    size = flow.add(operation, runs, answer)
    if operation.when is not None:  # At best it is skipped.
        cost = replace(cost, low=Decimal(0))
    return OperationWork(operation, runs, calls, tokens, cost, latency, size.items, size.distinct, shared, live, history)


def _timed(operation: LLMOperation, history: History | None) -> Timed | None:
    """How long calls took in earlier runs, and how long their answers were where those of other packs are."""
    if history is None or history.call_s is None:
        return None
    return Timed(history.call_s, None if history.pack == operation.items_per_request else history.output_tokens(history.calls))


def _is_remembered(operation: LLMOperation) -> bool:
    return operation.cache is not None and operation.func is None


def _calls_of(operation: LLMOperation, runs: Runs) -> int:
    """How many calls are made with an empty cache."""
    asked = min(runs.items, runs.distinct) if _is_remembered(operation) and runs.distinct is not None else runs.items
    return ceil(asked / operation.items_per_request)


def _saved_by_prompt_cache(operation: LLMOperation, shared: Figure, calls: float, prices: PriceBook, assumed: Assumed) -> Money | None:
    """What the provider's prompt cache is expected to save of all calls; None when it has no part in them."""
    shards, policy = operation.shards or 1, operation.prefix
    at_once = shards * (1 if operation.batch is None else operation.batch.in_flight)
    primed = shards if policy is not None and policy.prime else 0
    is_long = policy is not None and policy.ttl_s > PrefixPolicy().ttl_s
    alike = Calls(calls, at_once, primed, goes_through_batch_api(operation), is_long)
    saved = saved_usd(priced_model(operation.metadata), shared.expected, alike, prices, is_marked=policy is not None)
    if saved is not None:
        assumed.use("prompt_cache_hits", operation.id)
    return saved


def _tokens_of(
    operation: LLMOperation, flow: Flow, history: History | None, calls: int, shared: Figure, assumed: Assumed
) -> tuple[CallTokens, Figure]:
    """The tokens of one call, and those of the answer for one item. What was measured of single items is put together in packs."""
    known = (None, None) if history is None else (history.input_tokens(calls), history.output_tokens(calls))
    tokens = call_tokens(operation, lambda: flow.input_tokens(operation), assumed, known)
    together = operation.items_per_request
    if together == 1:
        return tokens, tokens.output
    if history is not None and history.pack == together:
        return tokens, tokens.output.times(1 / together)
    return packed(operation, tokens, shared, assumed), tokens.output


def _cost_of_calls(
    operation: LLMOperation,
    tokens: CallTokens,
    shared: Figure,
    made: int | Figure,
    history: History | None,
    prices: PriceBook,
    assumed: Assumed,
) -> Money:
    """What so many calls cost, with what they find in the provider's prompt cache: as measured, else as expected.

    What was measured may be of calls that waited for the first to be answered; those that do not are not expected to find more than
    without a measurement.
    """

    def cost(cached_share: float) -> Money:
        one = _cost_of_call(operation, tokens, prices, cached_share)
        return one.times(made) if isinstance(made, int) else one.times_each(made)

    share = None if history is None else _read_share(operation, history)
    if share is not None and (operation.prefix is None or operation.prefix.prime):
        return cost(share)
    calls = made if isinstance(made, int) else made.expected
    expected = less(cost(0.0), _saved_by_prompt_cache(operation, shared, calls, prices, assumed))
    return expected if share is None else max(expected, cost(share), key=lambda money: money.expected)


def _read_share(operation: LLMOperation, history: History) -> float | None:
    """Which share of their input calls that are made and marked so had in prompt caches in earlier runs; None when none was measured."""
    row, is_batch = prompt_cache_of(priced_model(operation.metadata)), goes_through_batch_api(operation)
    if operation.prefix is not None:
        return history.cached_share_of(is_batch=is_batch) or history.cached_share or None
    if row is not None and row.needs_marker:
        return 0.0  # whatever marked calls found there
    return history.cached_share_of(is_batch=is_batch)


def _cost_of_call(operation: LLMOperation, tokens: CallTokens, prices: PriceBook, cached_share: float) -> Money:
    data, is_batch = operation.metadata, goes_through_batch_api(operation)
    if data.estimated_cost_usd is not None:
        # What the author gave is the price of one item, and nobody knows what a request for many costs less.
        return Money(low=data.estimated_cost_usd, expected=data.estimated_cost_usd, high=data.estimated_cost_usd).times(
            operation.items_per_request
        )
    model = priced_model(data)
    into, out = tokens
    low = prices.mean_price(model, into.low, out.low, into.low * cached_share, is_batch=is_batch)
    expected = prices.mean_price(model, into.expected, out.expected, into.expected * cached_share, is_batch=is_batch)
    high = prices.mean_price(model, into.high, out.high, 0.0, is_batch=is_batch)
    return Money(unknown=(model,)) if low is None or expected is None or high is None else Money(low, expected, high)


def _all_calls(operation: Operation, figure: Figure, calls: Figure) -> Figure:
    low = 0 if operation.when is not None else figure.low * calls.low
    return Figure(low=low, expected=figure.expected * calls.expected, high=figure.high * calls.high, source=figure.source)
