"""The rules of probes, each with its source; what the pass does to whole graphs stands in the fixtures."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cost.measured import asked, profile
from tests.cost.measured import run as measured_run
from xcs_airflow.cost.compute import platforms, task_cost_usd
from xcs_airflow.cost.latency import goes_through_batch_api
from xcs_airflow.cost.probes import Starts
from xcs_airflow.ir import CachePolicy, Graph, LLMOperation, PipelinePolicy
from xcs_airflow.passes import PASSES, PassContext, ProbeBeforeStart, run_passes
from xcs_airflow.plan import CloudExporter

from .cases import LOAD, graph
from .cases_machines import remembered_on_a_gpu
from .strategies import graphs
from .toys import llm, on_a_gpu


def probed(*operations, target="aws-batch", known=None, **policy):
    context = PassContext(target=target, profile=known)
    result = ProbeBeforeStart()(graph(LOAD, *operations, policy=PipelinePolicy(**policy)), context)
    return result, {decision.operation: decision for decision in context.decisions}


def runs_of(operation, *hits, rows=4):
    """A profile of runs in each of which so many of four answers came from the cache."""
    entries = {
        f"run-{number}": asked(operation, [40] * (rows - share), [5] * (rows - share), rows=rows, calls=rows - share, hits=share)
        for number, share in enumerate(hits)
    }
    return profile(
        *(measured_run(name, f"2026-11-22T10:00:0{index}Z", **{operation.id: entry}) for index, (name, entry) in enumerate(entries.items()))
    )


@settings(max_examples=60, deadline=None)
@given(made=graphs(), target=st.sampled_from(sorted(platforms())))
def test_only_what_every_run_may_remember_is_probed(made: Graph, target):
    """A probe commits what the task would: it may stand in only where every answer comes from the cache (docs/cache.md)."""
    result = run_passes(made, PASSES, PassContext(target=target))
    for operation in result:
        if isinstance(operation, LLMOperation) and operation.probe:
            assert operation.cache is not None
            assert operation.func is None
            assert not goes_through_batch_api(operation)


@pytest.mark.parametrize("target", ["aws-batch", "cloud-run"])
def test_a_look_pays_where_it_costs_less_than_what_it_spares_on_average(target):
    """A start is billed from its first second and a minute at least: aws.amazon.com/fargate/pricing, cloud.google.com/run/pricing."""
    platform, call = platforms()[target], on_a_gpu("a", x="load")
    least, start = (task_cost_usd(platform, each, 0).expected for each in (platform.smallest, call.resources))
    enough = float(least / start)
    for often, pays in ((enough * 1.01, True), (enough * 0.99, False)):
        assert (Starts(platform).bet(call.resources, 1, often).saves_usd > 0) == pays
    assert Starts(platform).bet(call.resources, 3, enough / 2.9).saves_usd > 0


def test_runs_that_always_asked_something_take_the_probe_away_and_runs_that_never_did_make_it_quicker_too():
    call = on_a_gpu("a", each="load")
    result, decisions = probed(call, target="cloud-run", known=runs_of(call, 3, 3, 3))
    assert not result["a"].probe
    assert decisions["a"].reason.startswith("it would not pay: all is known in 2% of runs (as in earlier ones)")
    result, decisions = probed(call, known=runs_of(call, 4, 4, 4), optimize="latency")
    assert result["a"].probe
    assert decisions["a"].saves_s == pytest.approx(3.1 / 4 * 240 - 57)


def test_where_nobody_knows_prices_workers_are_counted_and_one_with_a_gpu_as_many():
    """What a worker of Airflow costs depends on who runs it; the ratio is a row of cost/data/assumptions.json with its source."""
    result, decisions = probed(on_a_gpu("a", x="load"), llm("b", x="load", cache=CachePolicy()), target="airflow")
    assert [result[name].probe for name in "ab"] == [True, False]
    assert decisions.keys() == {"a"}
    told = "a probe takes 2 s of a worker of airflow each time and then spares a start, 2 s on a worker with a GPU, which counts as 16"
    assert decisions["a"].reason == f"all is known in 10% of runs (assumed): {told}"
    assert decisions["a"].saves_usd is None
    result, _ = probed(on_a_gpu("a", each="load"), target="airflow", known=runs_of(on_a_gpu("a", each="load"), 0, 0))
    assert not result["a"].probe


@pytest.mark.parametrize(("hour_usd", "is_probed"), [("0.1", True), ("10", False)])
def test_who_says_what_an_hour_is_worth_waits_for_a_look_only_when_it_is_worth_it(hour_usd, is_probed):
    result, _ = probed(on_a_gpu("a", x="load"), optimize="balanced", hour_usd=Decimal(hour_usd))
    assert result["a"].probe == is_probed


def test_the_plan_counts_what_the_decision_says():
    before = remembered_on_a_gpu()
    context = PassContext(target="aws-batch")
    after = run_passes(before, (ProbeBeforeStart(),), context)
    old, new = (CloudExporter(target="aws-batch").export(each).totals for each in (before, after))
    (decision,) = context.decisions
    assert round(old.compute_usd.expected - new.compute_usd.expected, 6) == decision.saves_usd
    assert old.duration_s.expected - new.duration_s.expected == pytest.approx(decision.saves_s)
    assert (new.tasks, new.starts) == (old.tasks + 1, old.starts + 1)
    assert (new.duration_s.low, new.duration_s.high) == (old.duration_s.low - 120 + 53, old.duration_s.high + 180)
    assert new.cost_usd == old.cost_usd


def test_without_a_target_nothing_is_probed():
    result, decisions = probed(on_a_gpu("a", x="load"), target=None)
    assert not result["a"].probe
    assert decisions == {}


def test_a_second_time_nothing_is_decided_again():
    once = run_passes(remembered_on_a_gpu(), PASSES, PassContext(target="aws-batch"))
    assert once["a"].probe
    assert ProbeBeforeStart()(once, context := PassContext(target="aws-batch")) is once
    assert context.decisions == []
