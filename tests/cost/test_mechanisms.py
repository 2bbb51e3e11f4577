"""Which way of making calls is taken, rule by rule. Every test is named after its rule; its docstring says where the rule is from."""

from __future__ import annotations

from decimal import Decimal

import pytest

from xcs_airflow.cost.batch_limits import BatchLimits, batch_limits
from xcs_airflow.cost.estimate import estimate
from xcs_airflow.cost.mechanisms import Option, preferred, why_no_batch, why_no_time
from xcs_airflow.ir import BatchPolicy, Graph, LLMMetadata, LLMOperation, Message, Operation, PipelinePolicy, Prompt, Ref
from xcs_airflow.passes import LLMGraphEnhancer, PassContext, PromptBatchingPass, run_passes
from xcs_airflow.values import Hole

DAY = 86400
OPENAI = batch_limits()["openai"]


def ask(name="a", of="load", *, text="Which team? ", batch=None, **metadata):
    data = LLMMetadata(**{"model": "openai/gpt-4.1-mini", **metadata})
    prompt = Prompt(messages=(Message(parts=(text, Hole(input="x"))),))
    return LLMOperation(id=name, prompt=prompt, inputs={"x": Ref(operation=of)}, map_over=("x",), metadata=data, batch=batch)


def optimised(*calls, items=20_000, limits=None, **policy):
    load = Operation(id="load", func="a:b", items=items)
    graph = Graph([load, *calls], policy=PipelinePolicy(**policy))
    return run_passes(graph, [PromptBatchingPass(limits=limits)], PassContext())


def mechanisms(graph):
    return {operation.id: operation.batch.mechanism for operation in graph if isinstance(operation, LLMOperation) and operation.batch}


def reasons(graph):
    return " ".join(decision.reason for decision in graph.decisions)


def seconds(batch, *, items, output_tokens):
    """Expected seconds of calls as xpyd-sim answers them: 100 ms until the first token, 5 ms for each."""
    load = Operation(id="load", func="a:b", items=items)
    pack = batch.pack_size
    latency = 0.1 + 0.005 * output_tokens * pack
    call = ask(batch=batch.model_copy(update={"mechanism": "concurrent", "pack_size": 1}), estimated_latency_s=latency)
    requests = -(-items // pack)
    return estimate(Graph([load.model_copy(update={"items": requests}), call])).of("a").duration_s.expected


@pytest.mark.parametrize(
    ("items", "tokens", "in_flight", "pack", "measured"),
    [
        (8, 2, 1, 1, 0.97),
        (8, 10, 2, 1, 0.67),
        (8, 40, 1, 1, 2.50),
        (8, 40, 4, 1, 0.71),
        (8, 40, 8, 1, 0.39),
        (8, 40, 1, 8, 1.71),
        (16, 40, 2, 1, 2.54),
        (16, 40, 1, 16, 3.31),
    ],
)
def test_estimates_agree_with_what_was_measured_on_a_simulator(items, tokens, in_flight, pack, measured):
    """Facts on batching, table 0.2: wall seconds against xpyd-sim 0.5.0 with 100 ms prefill and 5 ms a token."""
    batch = BatchPolicy(group="a", in_flight=in_flight, pack_size=pack)
    assert seconds(batch, items=items, output_tokens=tokens) == pytest.approx(measured, rel=0.25)


def test_packing_is_slower_than_full_concurrency_when_output_dominates():
    """Facts on batching, table 0.2: at 40 tokens an item one packed request takes 4.4 to 8.7 times as long as full concurrency."""
    call = ask(max_pack=5, estimated_output_tokens=40, text="word " * 3000)
    assert mechanisms(optimised(call, items=40, optimize="latency")) == {"a": "concurrent"}


def test_packing_pays_when_the_shared_prefix_is_long_and_money_is_preferred():
    """Facts on batching, section 4: packing saves the shared prefix of all items of a request but one; output stays the same."""
    call = ask(max_pack=5, estimated_output_tokens=4, text="word " * 3000)
    assert mechanisms(optimised(call, optimize="cost")) == {"a": "packed"}
    short = ask(max_pack=5, estimated_output_tokens=4, text="? ")
    assert mechanisms(optimised(short, optimize="cost")) == {"a": "concurrent"}


def test_packing_is_only_done_where_it_was_asked_for():
    """Facts on batching, section 1.5: accuracy drops and depends on the place of the item (arXiv:2309.00384), so it is off by default."""
    assert mechanisms(optimised(ask(text="word " * 3000), optimize="cost")) == {"a": "concurrent"}
    careful = ask(text="word " * 3000, max_pack=5, quality_sensitive=True)
    assert mechanisms(optimised(careful, optimize="cost")) == {"a": "concurrent"}


def test_a_provider_batch_is_taken_when_the_deadline_gives_it_its_window():
    """Facts on batching, section 1.4: half the price within 24 hours."""
    graph = optimised(ask(), deadline_s=25 * 3600)
    assert mechanisms(graph) == {"a": "provider_batch"}
    live = estimate(optimised(ask(), deadline_s=3600)).cost_usd.expected
    assert estimate(graph).cost_usd.expected == live / 2


def test_a_provider_batch_on_the_critical_path_of_a_short_deadline_is_refused():
    """Facts on batching, section 1.5: not when the operation or a successor has a deadline shorter than the window."""
    graph = optimised(ask(), deadline_s=7200)
    assert mechanisms(graph) == {"a": "concurrent"}
    assert "a batch may take 24 h, and the deadline is 2 h" in reasons(graph)


@pytest.mark.parametrize(("days", "batches"), [(1.5, 1), (2.5, 2), (3.5, 3)])
def test_the_windows_along_a_chain_of_batches_add_up(days, batches):
    """Facts on batching, section 1.5: a chain of k batched stages takes up to k times 24 hours, which nobody else models."""
    graph = optimised(ask("a"), ask("b", "a"), ask("c", "b"), deadline_s=days * DAY)
    assert list(mechanisms(graph).values()).count("provider_batch") == batches


def test_batches_side_by_side_share_one_window():
    """Only along a path do windows add up."""
    graph = optimised(ask("a"), ask("b"), ask("c"), deadline_s=1.5 * DAY)
    assert set(mechanisms(graph).values()) == {"provider_batch"}


def test_a_batch_below_the_providers_minimum_is_illegal():
    """Facts on batching, section 1.4: Bedrock takes no batch of fewer than 100 records, a rule and no heuristic."""
    limits = {"openai": BatchLimits(**{**OPENAI.model_dump(), "min_requests": 100})}
    long = {"text": "word " * 3000, "model": "openai/gpt-5"}
    assert mechanisms(optimised(ask(**long), items=99, limits=limits, deadline_s=2 * DAY)) == {"a": "concurrent"}
    assert mechanisms(optimised(ask(**long), items=100, limits=limits, deadline_s=2 * DAY)) == {"a": "provider_batch"}


def test_nobody_waits_a_day_for_less_than_a_cent():
    """Facts on batching, section 1.5: not when the saving is less than what orchestrating the batch takes."""
    graph = optimised(ask(estimated_output_tokens=1), items=50, deadline_s=2 * DAY)
    assert mechanisms(graph) == {"a": "concurrent"}
    assert "a batch would save too little to wait for" in reasons(graph)


def test_without_a_deadline_no_run_is_made_to_wait_a_day():
    """A pipeline that says nothing about time keeps the time it takes."""
    graph = optimised(ask())
    assert mechanisms(graph) == {"a": "concurrent"}
    assert "only a deadline of 24 h or more" in reasons(graph)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (ask(batchable=False), "its author declared batchable=False"),
        (ask(max_tokens=0), "a batch takes no request without an answer"),
        (LLMOperation(id="a", func="a:b", metadata=LLMMetadata(model="openai/gpt-4.1")), "a:b asks the model itself"),
    ],
)
def test_what_a_batch_api_does_not_take_is_not_given_to_it(call, reason):
    """Facts on batching, section 1.2: `max_tokens: 0` is refused in a batch; what the runtime does not send it cannot batch."""
    assert why_no_batch(call, 1000, OPENAI) == reason


def test_a_provider_without_a_known_batch_api_gets_none():
    """Only those are known whose limits are dated rows."""
    assert why_no_batch(ask(model="nobody/knows"), 1000, None) == "no batch API of nobody is known"


def test_a_budget_makes_quick_runs_wait():
    """What is preferred gives way to what is cheaper when the run would cost more than it may."""
    few = {"optimize": "latency", "deadline_s": 2 * DAY}
    assert mechanisms(optimised(ask(), **few)) == {"a": "concurrent"}
    assert mechanisms(optimised(ask(), **few, budget_usd=Decimal(2))) == {"a": "provider_batch"}
    assert mechanisms(optimised(ask(), **few, budget_usd=Decimal(2000))) == {"a": "concurrent"}


def test_weights_say_what_an_hour_is_worth():
    """20,000 calls cost about 3.50 USD, half of that in a batch that is expected to take an hour."""
    patient = optimised(ask(), optimize="balanced", hour_usd=Decimal("0.1"), deadline_s=2 * DAY)
    hasty = optimised(ask(), optimize="balanced", hour_usd=Decimal(100), deadline_s=2 * DAY)
    assert mechanisms(patient) == {"a": "provider_batch"}
    assert mechanisms(hasty) == {"a": "concurrent"}


def test_a_price_nobody_knows_is_no_reason_to_change_anything():
    """Unknown is not zero."""
    live, batch = Option("concurrent", None, 1, 1), Option("provider_batch", Decimal(1), 1, 1)
    assert preferred((live, batch), PipelinePolicy()) == live
    known, unknown = Option("concurrent", Decimal(5), 1, 1), Option("provider_batch", None, 1, 1)
    assert preferred((known, unknown), PipelinePolicy()) == known


def test_the_plainest_way_wins_a_tie():
    live, packed = Option("concurrent", Decimal(1), 1, 1), Option("packed", Decimal(1), 1, 1)
    for objective in ("cost", "latency", "balanced"):
        assert preferred((live, packed), PipelinePolicy(optimize=objective)) == live


def test_a_window_must_fit_the_deadline():
    assert why_no_time(OPENAI, PipelinePolicy(deadline_s=DAY)) is None
    assert why_no_time(OPENAI, PipelinePolicy(deadline_s=DAY - 1)) == "a batch may take 24 h, and the deadline is 23.9997 h"


def test_what_the_author_chose_stays():
    batch = BatchPolicy(group="a", mechanism="provider_batch")
    graph = optimised(ask(batch=batch), deadline_s=60)
    assert graph["a"].batch == batch


@pytest.mark.parametrize(("days", "mechanism"), [(1.5, "concurrent"), (2.5, "provider_batch")])
def test_the_window_of_a_batch_that_the_author_chose_counts_too(days, mechanism):
    """Facts on batching, section 1.5: a chain of k batched stages takes up to k times 24 hours, whoever chose them."""
    graph = optimised(ask("a"), ask("b", "a", batch=BatchPolicy(group="b", mechanism="provider_batch")), deadline_s=days * DAY)
    assert mechanisms(graph) == {"a": mechanism, "b": "provider_batch"}


def test_choosing_again_changes_nothing():
    once = optimised(ask("a", max_pack=5), ask("b", "a"), deadline_s=2 * DAY)
    assert LLMGraphEnhancer(passes=[PromptBatchingPass()]).enhance(once) == once


def test_what_is_decided_already_counts_for_the_budget_too():
    """A budget is for all calls of a run, also for those whose author said how they are made."""
    decided = ask("b", batch=BatchPolicy(group="b", in_flight=4))
    few = {"optimize": "latency", "deadline_s": 2 * DAY}
    alone = estimate(optimised(ask(), **few)).cost_usd.expected
    assert mechanisms(optimised(ask(), **few, budget_usd=alone))["a"] == "concurrent"
    assert mechanisms(optimised(ask(), decided, **few, budget_usd=alone))["a"] == "provider_batch"
