"""Estimates from what earlier runs measured."""

from statistics import fmean

import pytest

from tests.cost.measured import asked, profile, run
from xcs_airflow.cost.estimate import estimate
from xcs_airflow.cost.prices import PriceBook
from xcs_airflow.cost.profile import OperationRun
from xcs_airflow.ir import BatchPolicy, CachePolicy, Graph, LLMMetadata, LLMOperation, Operation, Ref
from xcs_airflow.values import Hole, Message, Prompt

MODEL = "openai/gpt-4.1-mini"
PRICE = PriceBook.load().price
LOAD = Operation(id="load", func="a:b", items=40)


def ask(*, metadata=None, **fields):
    data = LLMMetadata(**{"model": MODEL, "temperature": 0, "max_tokens": 50, **(metadata or {})})
    return LLMOperation(
        **{"id": "ask", "inputs": {"x": Ref(operation="load")}, "map_over": ("x",), "prompt_func": "a:b", "code": "1", **fields},
        metadata=data,
    )


ASK = ask()
INTO, OUT = [100, 120, 140, 400], [1, 2, 2, 4]


def found(*runs, operation=ASK, load=LOAD, others=()):
    return estimate(Graph([load, operation, *others]), profile=profile(*runs))


def test_without_runs_a_profile_changes_nothing():
    graph = Graph([LOAD, ASK])
    assert estimate(graph, profile=profile()) == estimate(graph)


def test_expected_tokens_and_money_are_those_of_the_mean_call():
    of = found(run(ask=asked(ASK, INTO, OUT))).of("ask")
    assert of.input_tokens.expected == pytest.approx(40 * fmean(INTO))
    assert of.output_tokens.expected == pytest.approx(40 * fmean(OUT))
    assert (of.input_tokens.source, of.output_tokens.source) == ("profile", "profile")
    costs = [PRICE(MODEL, into, out) for into, out in zip(INTO, OUT, strict=True)]
    assert float(of.cost_usd.expected) == pytest.approx(40 * float(sum(costs)) / 4, rel=1e-6)
    assert of.cost_usd.low < of.cost_usd.expected < of.cost_usd.high


def test_what_is_measured_goes_before_what_is_declared():
    declared = ask(metadata={"estimated_input_tokens": 9000, "estimated_output_tokens": 900, "estimated_latency_s": 60})
    of = found(run(ask=asked(declared, INTO, OUT, [1.0, 3.0])), operation=declared).of("ask")
    assert of.input_tokens.expected == 40 * 190
    assert of.call_latency_s.expected == 2


def test_a_declared_number_of_items_holds_whatever_a_small_run_had():
    small = run(load=OperationRun(items=3), ask=asked(ASK, INTO[:3], OUT[:3]))
    assert found(small).of("ask").calls == 40
    assert found(small, load=LOAD.model_copy(update={"items": None})).of("ask").calls == 3


def test_more_calls_and_more_runs_leave_less_doubt():
    def doubt(items, *runs):
        tokens = found(*runs, load=LOAD.model_copy(update={"items": items})).of("ask").input_tokens
        return tokens.high / tokens.expected - 1

    one = run(ask=asked(ASK, INTO, OUT))
    two = run("two", "2026-11-23T10:00:00Z", ask=asked(ASK, INTO, OUT))
    far = run("two", "2026-11-23T10:00:00Z", ask=asked(ASK, [3 * tokens for tokens in INTO], OUT))
    assert doubt(4, one) > doubt(400, one) > doubt(400, one, two)
    assert doubt(400, one, far) > doubt(400, one)


def test_the_high_end_of_an_answer_keeps_to_its_limit():
    of = found(run(ask=asked(ASK, [100, 100], [10, 49]))).of("ask")
    assert of.output_tokens.high <= 40 * 50


def test_seconds_of_a_call_have_the_percentiles_of_earlier_ones():
    seconds = [1.0] * 8 + [2.0, 10.0]
    latency = found(run(ask=asked(ASK, [100] * 10, [1] * 10, seconds))).of("ask").call_latency_s
    assert (latency.low, latency.expected, latency.high) == (1.0, 2.0, 2.0)
    assert latency.source == "profile"


def test_calls_side_by_side_take_as_long_as_the_slowest_of_them_did():
    seconds = [1.0] * 8 + [3.0, 3.0]
    in_flight = ask(batch=BatchPolicy(group="g", in_flight=40))
    known = found(run(ask=asked(in_flight, [100] * 10, [1] * 10, seconds)), operation=in_flight).of("ask")
    assert (known.call_latency_s.expected, known.duration_s.expected) == (1.4, 3.0)
    alone = found(run(ask=asked(ASK, [100] * 10, [1] * 10, seconds))).of("ask")
    assert alone.duration_s.expected == pytest.approx(40 * 1.4)


@pytest.mark.parametrize(
    "changed",
    [
        ask(prompt_func="a:other"),
        ask(code="2"),
        ask(output_schema={"type": "integer"}),
        ask(metadata={"max_tokens": 51}),
        ask(metadata={"model": "openai/gpt-5-mini"}),
        ask(prompt_func=None, code=None, prompt=Prompt(messages=(Message(parts=("Say ", Hole(input="x"))),))),
    ],
    ids=["function", "code", "schema", "sampling", "model", "prompt"],
)
def test_measurements_of_a_changed_prompt_are_not_believed(changed):
    runs = run(ask=asked(ASK, INTO, OUT).model_copy(update={"code": "1"}))
    guessed, measured = estimate(Graph([LOAD, changed])), found(runs, operation=changed)
    assert measured.of("ask") == guessed.of("ask")
    assert any("have changed since: %ask" in sentence for sentence in measured.assumptions)
    assert not any("have changed since" in sentence for sentence in found(runs).assumptions)


def test_duplicates_and_hits_lower_what_is_expected():
    cached = ask(cache=CachePolicy())
    did = asked(cached, INTO, OUT, rows=20, hits=10, duplicates=6)
    whole = found(run(ask=did), operation=cached)
    of = whole.of("ask")
    assert of.calls == 16  # 4 of 10 requests were different ones
    one = found(run(ask=asked(ASK, INTO, OUT))).of("ask").cost_usd.expected / 40
    assert of.cost_usd.low == 0
    assert of.cost_usd.expected == pytest.approx(16 * one / 2)  # half of the answers came from the cache
    assert of.cost_usd.high > 16 * one
    (known,) = whole.measured
    assert (known.distinct_share, known.hit_share, known.live_calls.expected) == (0.4, 0.5, 8)
    assert any("from the cache as in earlier runs" in sentence for sentence in whole.assumptions)


def test_answers_that_are_not_remembered_are_all_paid():
    of = found(run(ask=asked(ASK, INTO, OUT, rows=20, hits=16))).of("ask")
    assert of.cost_usd.low > 0
    assert of.input_tokens.expected == 40 * 190


def test_answers_that_did_not_fit_are_paid_again():
    assert found(run(ask=asked(ASK, INTO, OUT, calls=2, discarded=2))).of("ask").input_tokens.expected == 2 * 40 * 190


def test_tokens_from_the_providers_cache_are_cheaper():
    dear = found(run(ask=asked(ASK, INTO, OUT))).of("ask").cost_usd.expected
    cheap = found(run(ask=asked(ASK, INTO, OUT, cached_tokens=sum(INTO) // 2))).of("ask").cost_usd.expected
    assert cheap < dear


def test_a_filter_keeps_the_share_that_it_kept():
    keep = Operation(id="keep", func="a:b", inputs={"x": Ref(operation="load")}, map_over=("x",), collect="filter")
    after = ask(inputs={"x": Ref(operation="keep")})
    runs = run(load=OperationRun(items=10), keep=OperationRun(items=2))
    assert found(runs, operation=keep, others=[after]).of("ask").calls == 8


def test_functions_take_as_long_as_they_took():
    each = Operation(id="each", func="a:b", inputs={"x": Ref(operation="load")}, map_over=("x",))
    runs = run(load=OperationRun(items=40, busy_ms=3000), each=OperationRun(items=10, busy_ms=500))
    whole = found(runs, operation=each)
    assert whole.of("load").call_latency_s.expected == 3
    assert whole.of("each").call_latency_s.expected == 0.05
    assert whole.duration_s.expected == pytest.approx(3 + 40 * 0.05)


def test_what_was_measured_of_single_items_is_put_together_in_packs():
    pack = BatchPolicy(group="g", mechanism="packed", pack_size=10)
    together = ask(batch=pack)
    alone = run(ask=asked(ASK, INTO, OUT))
    of = found(alone, operation=together).of("ask")
    assert of.calls == 4
    assert 40 * 190 < of.input_tokens.expected < 2 * 40 * 190
    packs = run("two", "2026-11-23T10:00:00Z", ask=asked(together, [1000] * 4, [80] * 4, [2.0] * 4, rows=40, pack=10))
    of = found(alone, packs, operation=together).of("ask")
    assert (of.input_tokens.expected, of.output_tokens.expected, of.call_latency_s.expected) == (4000, 320, 2)
    assert found(packs, operation=ASK).of("ask") == estimate(Graph([LOAD, ASK])).of("ask")


def test_calls_about_many_items_take_longer_than_measured_ones_about_single_items():
    alone = run(ask=asked(ASK, INTO, OUT, [0.2] * 4))
    pack = ask(batch=BatchPolicy(group="g", mechanism="packed", pack_size=10))
    assert found(alone).of("ask").call_latency_s.expected == 0.2
    of = found(alone, operation=pack).of("ask").call_latency_s
    assert (of.source, 0.2 < of.expected < 10 * 0.2) == ("derived", True)


def test_a_provider_is_expected_to_finish_a_batch_as_soon_as_it_did_and_at_worst_as_late_as_ever():
    batch = ask(batch=BatchPolicy(group="g", mechanism="provider_batch"))
    guessed = found(run(ask=asked(ASK, INTO, OUT)), operation=batch).of("ask").duration_s
    did = [asked(batch, INTO, OUT, batch_ms=minutes * 60_000) for minutes in (10, 30)]
    known = found(run(ask=did[0]), run("two", "2026-11-23T10:00:00Z", ask=did[1]), operation=batch).of("ask").duration_s
    assert (guessed.expected, guessed.source) == (3600, "assumed")
    assert (known.expected, known.source) == (1200, "profile")
    assert known.low < 600
    assert known.high == guessed.high == 86_400
