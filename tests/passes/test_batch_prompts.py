"""Which calls share a task, beyond what the fixtures show."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xcs_airflow.cost.estimate import estimate
from xcs_airflow.cost.simulation import RateLimit
from xcs_airflow.errors import GraphError
from xcs_airflow.ir import BatchPolicy, Graph
from xcs_airflow.passes import PassContext, PromptBatchingPass, run_passes
from xcs_airflow.plan.lower import lower

from .cases import LOAD
from .cases_groups import two_maps
from .toys import llm, plain

ALL_SHARDS = PromptBatchingPass(headroom=1_000_000)
"""As if nobody had a limit."""


def groups(graph: Graph) -> list[list[str]]:
    return [[step.id for step in task.steps] for task in lower(graph).tasks if len(task.steps) > 1]


def test_a_group_has_a_largest_size():
    calls = [llm(f"c{index}", f"{index}: ", x="load") for index in range(5)]
    result = run_passes(Graph([LOAD, *calls]), [PromptBatchingPass(max_group=2)])
    assert groups(result) == [["c0", "c1"], ["c2", "c3"]]
    assert result["c4"].batch is None


def test_no_more_calls_are_in_flight_than_allowed():
    result = run_passes(two_maps(), [PromptBatchingPass(max_in_flight=3)])
    assert result["a"].batch == BatchPolicy(group="a", in_flight=3)


def test_a_pass_that_would_hurt_by_its_own_estimate_does_nothing():
    """With one place in flight, calls that would run as tasks of their own would wait for each other."""
    graph = Graph([LOAD, llm("a", "1 ", x="load"), llm("b", "2 ", x="load")])
    result = run_passes(graph, [PromptBatchingPass(max_in_flight=1)])
    assert result.replace(decisions=()) == graph
    assert {(decision.action, decision.reason) for decision in result.decisions} == {
        ("skipped", "by its own estimate the run would take longer and cost no less")
    }


@pytest.mark.parametrize(
    ("items", "shards"),
    [(999, None), (100_000, 6), (100_000_000, 1000)],
    ids=["too few to share", "ten minutes each", "never more than the limit"],
)
def test_shards_follow_the_expected_calls(items, shards):
    load = plain("load", "words", items=items)
    result = run_passes(Graph([load, llm("a", each="load", max_tokens=8)]), [PromptBatchingPass()])
    assert result["a"].shards == shards


def test_short_calls_are_not_spread_thin():
    load = plain("load", "words", items=2_000)
    result = run_passes(Graph([load, llm("a", each="load", estimated_latency_s=100)]), [PromptBatchingPass()])
    assert result["a"].shards == 4


@pytest.mark.parametrize(("per_minute", "shards"), [(60, None), (2_400, 2), (4_800, 4), (1_000_000, 6)])
def test_no_more_shards_are_started_than_a_limit_keeps_busy(per_minute, shards):
    """100,000 calls of 1.1 s keep one shard of 32 in flight busy for 3,451 s; at 2,400 a minute they take 2,500 s at least."""
    graph = Graph([plain("load", "words", items=100_000), llm("a", each="load", max_tokens=8)])
    limits = {"openai": RateLimit(requests_per_minute=per_minute)}
    limited = run_passes(graph, [PromptBatchingPass()], PassContext(limits=limits))
    assert limited["a"].shards == shards


@given(st.integers(100, 20_000), st.integers(1_000, 200_000), st.booleans())
@settings(max_examples=30, deadline=None)
def test_fewer_shards_within_a_limit_make_no_run_longer(per_minute, items, by_tokens):
    """As expected: what the provider allows takes as long as with all the shards that an unlimited list would have."""
    graph = Graph([plain("load", "words", items=items), llm("a", each="load", max_tokens=8)])
    limit = RateLimit(tokens_per_minute=per_minute * 20) if by_tokens else RateLimit(requests_per_minute=per_minute)
    free, limited = (run_passes(graph, [pass_], PassContext(limits={"openai": limit})) for pass_ in (ALL_SHARDS, PromptBatchingPass()))
    assert (limited["a"].shards or 1) <= (free["a"].shards or 1)
    longer, shorter = (estimate(each, limits={"openai": limit}).duration_s.expected for each in (limited, free))
    assert longer <= shorter * 1.01


def test_groups_that_wait_for_each_other_are_refused_as_the_authors():
    first, second = BatchPolicy(group="1", in_flight=2), BatchPolicy(group="2", in_flight=2)
    operations = [
        llm("a", "1 ", x="load", batch=first),
        llm("b", "2 ", x="a", batch=second),
        llm("c", "3 ", x="load", batch=second),
        llm("d", "4 ", x="c", batch=first),
    ]
    with pytest.raises(GraphError, match="the task of a"):
        run_passes(Graph([LOAD, *operations]), [PromptBatchingPass()])


def test_savings_are_those_of_the_estimates_before_and_after():
    graph, context = two_maps(), PassContext()
    result = run_passes(graph, [PromptBatchingPass()], context)
    before, after = context.estimate(graph), context.estimate(result)
    together_s = after["a"].duration_s.expected + after["b"].duration_s.expected
    for decision in result.decisions:
        assert decision.saves_s == pytest.approx(before[decision.operation].duration_s.expected - together_s, abs=0.001)
