"""Whatever the graph, no pass changes what it computes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xcs_airflow.ir import Graph, dependencies, dumps, toposort, verify
from xcs_airflow.ir.collection import collections
from xcs_airflow.passes import PASSES, LLMGraphEnhancer, PassContext, Verify, run_passes
from xcs_airflow.plan.lower import lower

from .strategies import graphs
from .toys import run

TARGETS = st.sampled_from([None, "aws-batch", "cloud-run", "airflow"])
EACH_PASS = [pytest.param((pass_,), id=type(pass_).__name__) for pass_ in PASSES]


def assert_better(before: Graph, after: Graph, context: PassContext) -> None:
    assert verify(after) == []
    old, new = run(before), run(after)
    assert new.output == old.output
    assert new.impure_calls == old.impure_calls
    assert new.model_calls <= old.model_calls
    known, found = context.estimate(before).whole, context.estimate(after).whole
    assert found.calls <= known.calls
    assert found.cost_usd.expected <= known.cost_usd.expected


def assert_tasks_fit(graph: Graph) -> None:
    """Tasks have an order; operations that share one have equal shards of equal lists, and depend on each other only if fused."""
    found = collections(graph)
    behind: dict[str, set[str]] = {}
    for operation in toposort(graph):
        behind[operation.id] = {name for need in dependencies(operation) for name in (need, *behind[need])}
    for task in lower(graph).tasks:
        members = [graph[step.id] for step in task.steps]
        assert len({operation.shards or 1 for operation in members}) == 1
        if members[0].fused is not None and task.shards == 1:
            continue
        assert members[0].fused or not any(other.id in behind[operation.id] for operation in members for other in members)
        assert len({found[operation.id].root if operation.is_mapped else None for operation in members}) == 1


@pytest.mark.parametrize("passes", [*EACH_PASS, pytest.param(PASSES, id="all")])
@settings(max_examples=60, deadline=None)
@given(graph=graphs(), target=TARGETS)
def test_the_meaning_stays(passes, graph, target):
    assert verify(graph) == []
    text = dumps(graph)
    context = PassContext(target=target)
    result = run_passes(graph, passes, context, observers=[Verify()])
    assert context.findings == []
    assert dumps(graph) == text
    assert_better(graph, result, context)
    assert_tasks_fit(result)


@settings(max_examples=60, deadline=None)
@given(graph=graphs(), target=TARGETS)
def test_a_second_time_changes_nothing(graph, target):
    once = LLMGraphEnhancer(target=target).enhance(graph)
    assert LLMGraphEnhancer(target=target).enhance(once) == once


@settings(max_examples=30, deadline=None)
@given(graph=graphs())
def test_every_operation_that_went_has_a_decision(graph):
    result = LLMGraphEnhancer().enhance(graph)
    gone = {operation.id for operation in graph} - {operation.id for operation in result}
    explained = {decision.operation for decision in result.decisions if decision.action == "applied"}
    assert gone <= explained
