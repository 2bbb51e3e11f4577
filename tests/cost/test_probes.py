"""How likely everything is known, which starts are dear, and what a probe is worth."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xcs_airflow.cost.assumptions import Assumed
from xcs_airflow.cost.compute import platforms, task_cost_usd
from xcs_airflow.cost.estimate import estimate
from xcs_airflow.cost.figures import Figure, MeasuredOperation
from xcs_airflow.cost.probes import Starts, chance_of, is_probed
from xcs_airflow.ir import BatchPolicy, CachePolicy, Graph, LLMMetadata, LLMOperation, Operation, Prompt, Resources
from xcs_airflow.values import Message

from .measured import asked, profile, run

BATCH, AIRFLOW = platforms()["aws-batch"], platforms()["airflow"]
L4 = Resources(cpu=4, memory_mib=16384, gpu=1, gpu_type="nvidia-l4")


def call(name="a", **fields):
    prompt = Prompt(messages=(Message(parts=("Hello",)),))
    metadata = LLMMetadata(model="openai/gpt-4.1-mini", temperature=0)
    return LLMOperation(id=name, prompt=prompt, metadata=metadata, **{"cache": CachePolicy(), **fields})


def measured(runs, known_runs, name="a"):
    return MeasuredOperation(operation=name, runs=runs, calls=1, live_calls=Figure.exactly(1), known_runs=known_runs)


@pytest.mark.parametrize(("runs", "known", "expected"), [(1, 0, 0.05), (1, 1, 0.55), (3, 2, 2.1 / 4), (10, 10, 10.1 / 11)])
def test_runs_in_which_everything_was_known_are_counted_and_the_assumption_counts_as_one(runs, known, expected):
    chance = chance_of(["a"], {"a": measured(runs, known)})
    assert (chance.low, chance.expected, chance.high, chance.source) == (0, pytest.approx(expected), 1, "profile")


def test_before_runs_tell_it_is_assumed_and_noted_for_whom():
    assumed = Assumed()
    chance = chance_of(["a", "b"], {}, assumed)
    assert (chance.expected, chance.source) == (0.1, "assumed")
    assert assumed.uses == [("all_known", "a"), ("all_known", "b")]


def test_of_a_task_the_answers_that_are_known_least_often_decide():
    assert chance_of(["a", "b"], {"a": measured(3, 3), "b": measured(3, 1, "b")}).expected == pytest.approx(1.1 / 4)


@pytest.mark.parametrize(("hits", "known_runs"), [((0, 0), 0), ((4, 3), 1), ((4, 4), 2)])
def test_a_run_with_one_answer_missing_is_none_in_which_all_were_known(hits, known_runs):
    """One call needs the GPU as much as four do."""
    ask = call()
    runs = [
        run(f"r{n}", f"2026-11-22T10:00:0{n}Z", a=asked(ask, [9] * (4 - hit), [2] * (4 - hit), rows=4, hits=hit))
        for n, hit in enumerate(hits)
    ]
    (known,) = estimate(Graph([ask]), profile=profile(*runs)).measured
    assert (known.runs, known.known_runs) == (2, known_runs)


def test_a_start_is_dear_when_it_costs_more_than_the_smallest_or_where_nobody_knows_when_it_has_a_gpu():
    sizes = [Resources(cpu=0.25, memory_mib=512), Resources(cpu=0.1, memory_mib=100), Resources(cpu=0.25, memory_mib=1024), L4]
    assert [Starts(BATCH).is_dear(size) for size in sizes] == [False, False, True, True]
    assert [Starts(AIRFLOW).is_dear(size) for size in (*sizes, Resources(cpu=32))] == [False, False, False, True, False]


@given(chance=st.floats(0, 1), shards=st.integers(1, 1000), name=st.sampled_from(["aws-batch", "cloud-run"]))
def test_a_bet_is_what_starts_without_work_cost(chance, shards, name):
    platform = platforms()[name]
    bet = Starts(platform).bet(L4, shards, chance)
    probe, start = (task_cost_usd(platform, size, 0).expected for size in (platform.smallest, L4))
    assert float(bet.saves_usd) == pytest.approx(chance * shards * float(start) - float(probe))
    assert bet.saves_s == pytest.approx(chance * platform.gpu_start_s.expected - platform.start_s.expected)


def test_where_nobody_knows_prices_a_bet_has_none_and_counts_workers():
    bet = Starts(AIRFLOW).bet(L4, 3, 0.1)
    assert (bet.saves_usd, bet.workers, bet.saves_worker_s) == (None, 16, pytest.approx(0.1 * 3 * 16 * 2 - 2))


def test_only_model_calls_that_ask_for_it_and_wait_for_no_batch_are_probed():
    probed = call(probe=True)
    batch = BatchPolicy(group="g", mechanism="provider_batch")
    assert is_probed([probed, call("b", probe=True)])
    assert not is_probed([probed, call("b")])
    assert not is_probed([probed, Operation(id="b", func="a:b")])
    assert not is_probed([call(probe=True, batch=batch)])


def test_a_probed_task_begins_as_often_as_something_is_missing():
    """At best the probe alone is started, at worst both are."""
    plain, probed = (estimate(Graph([call(probe=probe, resources=L4)]), platform=BATCH).duration_s for probe in (False, True))
    start, least = BATCH.gpu_start_s, BATCH.start_s
    assert probed.low == pytest.approx(plain.low - start.low + least.low)
    assert probed.expected == pytest.approx(plain.expected - 0.1 * start.expected + least.expected)
    assert probed.high == pytest.approx(plain.high + least.high)
    assert estimate(Graph([call(probe=True)])).duration_s == estimate(Graph([call()])).duration_s
