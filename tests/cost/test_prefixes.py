"""How calls are made where they begin alike: every way is compared as it is made after the best marking for prompt caches."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cost.measured import asked, profile, run
from xcs_airflow.cost import alternatives, prefixes
from xcs_airflow.cost.estimate import Estimator, estimate
from xcs_airflow.ir import BatchPolicy, Graph, LLMMetadata, LLMOperation, Message, Operation, PipelinePolicy, Prompt, Ref
from xcs_airflow.passes import MarkPrefixes, PassContext, PromptBatchingPass, run_passes
from xcs_airflow.values import Hole

HOUR_S = 3600
RULE = "a team is named by one word, in small letters, as in the list below. "
LONG, SHORT = RULE * 660, "Which team? "
CLAUDE, GPT = "anthropic/claude-sonnet-4-5", "openai/gpt-4.1"
PASSES = (PromptBatchingPass(), MarkPrefixes())
WAYS = (
    BatchPolicy(group="a", in_flight=32),
    BatchPolicy(group="a", mechanism="packed", in_flight=32, pack_size=5),
    BatchPolicy(group="a", mechanism="provider_batch"),
)


def ask(name="a", of="load", *, text=LONG, batch=None, **metadata):
    data = LLMMetadata(**{"model": CLAUDE, "max_tokens": 8, **metadata})
    prompt = Prompt(messages=(Message(parts=(text, Hole(input="x"))),))
    return LLMOperation(id=name, prompt=prompt, inputs={"x": Ref(operation=of)}, map_over=("x",), metadata=data, batch=batch)


def written(*calls, items=400, hours=None, **policy):
    load = Operation(id="load", func="a:b", items=items)
    return Graph([load, *calls], policy=PipelinePolicy(deadline_s=None if hours is None else hours * HOUR_S, **policy))


def optimised(*calls, **settings):
    return run_passes(written(*calls, **settings), PASSES)


def usd(graph):
    return estimate(graph).cost_usd.expected


def mechanisms(graph):
    return {operation.id: operation.batch.mechanism for operation in graph if isinstance(operation, LLMOperation)}


def marked(graph):
    return {operation.id for operation in graph if isinstance(operation, LLMOperation) and operation.prefix is not None}


def test_live_calls_that_read_cost_less_than_a_batch_at_half_the_price():
    """A batch takes half of the price, a read a tenth (platform.claude.com/docs/en/build-with-claude/prompt-caching, batch-processing).

    A batch reads only after another one of one request, for which 25 h have no room.
    """
    graph = optimised(ask(), hours=25)
    assert (mechanisms(graph), marked(graph)) == ({"a": "concurrent"}, {"a"})
    batch = usd(optimised(ask(batch=WAYS[2]), hours=25))
    assert usd(graph) < batch / 2
    assert (
        f"no provider batch: with its shared 11,385 tokens read from the provider's prompt cache live calls cost {usd(graph):,.4f} USD, "
        f"a batch {batch:,.4f} USD"
    ) in graph.decisions[0].reason


def test_a_batch_that_reads_costs_less_than_live_calls_that_read():
    """Half of a tenth, where the deadline has room for both windows of a batch after one of one request."""
    graph = optimised(ask(), hours=49)
    assert (mechanisms(graph), marked(graph)) == ({"a": "provider_batch"}, {"a"})
    assert usd(graph) < usd(optimised(ask(), hours=47))


def test_a_batch_is_taken_where_answers_cost_more_than_what_is_shared():
    """A prompt cache takes nothing off an answer, a batch takes half."""
    assert mechanisms(optimised(ask(text=RULE * 70, estimated_output_tokens=2000), hours=25)) == {"a": "provider_batch"}


def test_without_room_for_a_second_window_the_reason_says_from_when_on_there_is():
    assert "only a deadline of 48 h or more allows a batch after one of one request" in optimised(ask()).decisions[0].reason
    assert "a batch after one of one request may take 48 h, and the deadline is 25 h" in optimised(ask(), hours=25).decisions[0].reason


def test_a_budget_that_marked_calls_keep_to_makes_nobody_wait():
    """As they are, they would cost 13.83 USD. What is not shared but answered costs less than that and waits."""
    few = {"optimize": "latency", "hours": 49}
    assert mechanisms(optimised(ask(), **few, budget_usd=Decimal(8))) == {"a": "concurrent"}
    assert usd(optimised(ask(), **few, budget_usd=Decimal(8))) < 8
    answers = ask(text=SHORT, estimated_output_tokens=2000)
    assert Decimal(8) < usd(optimised(answers, **few)) < usd(written(ask()))
    assert mechanisms(optimised(answers, **few, budget_usd=Decimal(8))) == {"a": "provider_batch"}


@pytest.mark.parametrize("hours", [None, 30])
def test_a_batch_that_costs_more_than_marked_calls_is_taken_by_nobody(hours):
    """Not even where it would be quicker: 200,000 calls of 1.1 s take two hours with 32 in flight, and most batches end within one."""
    graph = optimised(ask(), items=200_000, hours=hours, optimize="latency")
    assert mechanisms(graph) == {"a": "concurrent"}
    assert "no provider batch: with its shared 11,385 tokens read from the provider's prompt cache live calls cost" in str(graph.decisions)


def test_what_shares_the_task_of_a_batch_that_reads_waits_for_both_windows():
    """The windows along a way add up: 72 h for both and one more. Where there are 60, what saves least is not a batch."""
    calls = ask(), ask("beside", text=SHORT), ask("after", "beside", text=SHORT)
    graph = optimised(*calls, items=20_000, hours=60)
    assert mechanisms(graph) == {"a": "provider_batch", "beside": "provider_batch", "after": "concurrent"}
    assert marked(graph) == {"a"}
    roomy = optimised(*calls, items=20_000, hours=74)
    assert set(mechanisms(roomy).values()) == {"provider_batch"}
    assert marked(roomy) == {"a"}


def test_what_reads_in_a_batch_does_not_if_what_shares_its_task_has_no_time_for_that():
    """The batch after `beside` saves more than `a`, and is decided first."""
    more = {"text": SHORT, "estimated_output_tokens": 3000}
    graph = optimised(ask(), ask("beside", text=SHORT), ask("after", "beside", **more), items=20_000, hours=60)
    assert mechanisms(graph) == {"a": "concurrent", "beside": "provider_batch", "after": "provider_batch"}
    assert marked(graph) == {"a"}
    assert (
        "the run may take 72 h, and the deadline is 60 h, if all that may share its task waits for both of its own"
        in graph.decisions[0].reason
    )


def test_a_batch_that_was_chosen_for_what_it_reads_is_not_left_without():
    """The one after it was chosen by its author: there is no room for a third window, and without the second one live calls cost less."""
    graph = optimised(ask(), ask("after", text=SHORT, of="a", batch=BatchPolicy(group="after", mechanism="provider_batch")), hours=60)
    assert mechanisms(graph) == {"a": "concurrent", "after": "provider_batch"}
    assert marked(graph) == {"a"}
    assert "with the windows of the batches on its way the run may take 72 h, and the deadline is 60 h" in graph.decisions[0].reason


def measured(graph, items):
    """A run that did just what was expected: of the calls after the first, or after those that begin with it, 95 in 100 read."""
    call = graph["a"]
    is_batch, policy = call.batch.mechanism == "provider_batch", call.prefix
    early = 0 if policy is None else 1 if policy.prime else min(items, 32)
    read = 0 if policy is None else round(estimate(graph).of("a").shared_tokens.expected * (items - early) * 0.95)
    times = {"seconds": (), "batch_ms": 1_800_000} if is_batch else {"seconds": [1.1] * items}
    return profile(run(a=asked(call, [11_409] * items, [8] * items, cached_tokens=read, **times)))


@pytest.mark.parametrize("hours", [None, 25, 49])
@pytest.mark.parametrize("items", [40, 400, 4000])
@pytest.mark.parametrize("hours_before", [None, 25, 49])
def test_what_calls_read_in_one_way_is_expected_of_no_other_way(items, hours, hours_before):
    """What marked live calls were measured to read, a batch does not, nor do calls that nobody marks; so runs do not take turns."""
    before = optimised(ask(), items=items, hours=hours_before)
    again = run_passes(written(ask(), items=items, hours=hours), PASSES, PassContext(profile=measured(before, items)))
    assert again["a"].batch.mechanism == ("provider_batch" if hours == 49 else "concurrent")
    assert marked(again) == {"a"}
    if hours_before == hours:
        assert again["a"].prefix == optimised(ask(), items=items, hours=hours)["a"].prefix


SHAPES = {
    "one": lambda more: [ask(**more)],
    "two in a row": lambda more: [ask("a", **more), ask("b", "a", **more)],
    "side by side": lambda more: [ask("a", **more), ask("b", text=RULE * 100, **more)],
    "with a short one": lambda more: [ask("a", **more), ask("b", text=SHORT, estimated_output_tokens=500)],
    "three, then one": lambda more: [ask("a", **more), ask("b", text=SHORT), ask("c", "b", **more), ask("d", "c", text=RULE * 100)],
}
POLICIES = st.fixed_dictionaries(
    {
        "items": st.sampled_from([3, 40, 400, 900]),
        "hours": st.sampled_from([None, 2, 25, 49, 73, 200]),
        "optimize": st.sampled_from(["cost", "latency", "balanced"]),
        "budget_usd": st.sampled_from([None, None, Decimal(2), Decimal(20)]),
    }
)


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=25, deadline=None)
@given(policy=POLICIES, more=st.sampled_from([{}, {"max_pack": 5}, {"model": GPT}]))
def test_calls_are_marked_as_was_assumed_when_it_was_decided_how_they_are_made(shape, policy, more):
    """Otherwise a way is taken for what it does not save."""
    decided, original = [], alternatives.choose

    def choose(considered, *known):
        chosen = original(considered, *known)
        decided[:] = [(chosen[item.operation.id].option, item.operation.id) for item in considered if item.others]
        return chosen

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alternatives, "choose", choose)
        graph = optimised(*SHAPES[shape](more), **policy)
    if any(decision.rule == "a pass that would hurt does nothing" for decision in graph.decisions):
        return  # one after the other, calls to OpenAI read what those side by side do not, and nothing was decided
    found = estimate(graph)
    for option, name in decided:
        assert (graph[name].batch.mechanism, graph[name].prefix) == (option.mechanism, option.prefix)
        assert found.of(name).cost_usd.expected == option.usd


@settings(max_examples=60, deadline=None)
@given(
    items=st.integers(1, 3000),
    length=st.integers(0, 800),
    tokens=st.sampled_from([1, 8, 100, 1000]),
    model=st.sampled_from([CLAUDE, GPT, "anthropic/claude-haiku-4-5", "openai/gpt-5"]),
    hours=st.sampled_from([None, 25, 49]),
    pack=st.sampled_from([1, 5]),
)
def test_no_other_way_that_is_legal_would_cost_less_once_it_is_marked(items, length, tokens, model, hours, pack):
    """Half the price of a batch, the shared part once a pack, a tenth for reads: the least of them, and a cent is the least to wait for."""
    more = {"text": RULE * length, "estimated_output_tokens": tokens, "max_tokens": tokens, "model": model, "max_pack": pack}
    legal = [way for way in WAYS if way.mechanism == "concurrent" or (pack > 1 if way.mechanism == "packed" else hours is not None)]
    cheapest = min(usd(optimised(ask(batch=way, **more), items=items, hours=hours)) for way in legal)
    found = usd(optimised(ask(**more), items=items, hours=hours))
    assert found <= max(cheapest * Decimal("1.01"), cheapest + Decimal("0.01"))


def test_where_nothing_is_long_enough_for_a_prompt_cache_nothing_is_estimated_more_often(monkeypatch):
    """As often as if no provider had a prompt cache."""
    count, original = [0], Estimator._computed

    def computed(estimator, graph):
        count[0] += 1
        return original(estimator, graph)

    def estimates(text):
        count[0] = 0
        calls = [ask("a", text=text, max_pack=5), ask("b", "a", text=text), ask("c", text=text, model=GPT)]
        run_passes(written(*calls, items=20_000, hours=80), PASSES, PassContext())
        return count[0]

    monkeypatch.setattr(Estimator, "_computed", computed)
    short, long = estimates(SHORT), estimates(LONG)
    monkeypatch.setattr(prefixes, "prompt_cache_of", lambda _model: None)
    assert short == estimates(SHORT) < long
