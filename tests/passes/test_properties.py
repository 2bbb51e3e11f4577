"""Whatever the graph, no pass changes what it computes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cost.measured import asked, profile
from tests.cost.measured import run as measured_run
from xcs_airflow.cost.compute import platform_of
from xcs_airflow.cost.estimate import estimate
from xcs_airflow.cost.memory import COUNTED, COUNTED_OF_CALLS, HOW_CALLS_ARE_MADE
from xcs_airflow.cost.profile import RunProfile
from xcs_airflow.cost.simulation import RateLimit
from xcs_airflow.ir import Graph, LLMOperation, Ref, dependencies, dumps, toposort, verify
from xcs_airflow.ir.collection import collections
from xcs_airflow.passes import PASSES, LLMGraphEnhancer, PassContext, Verify, run_passes
from xcs_airflow.passes.shared import Shared
from xcs_airflow.plan.lower import lower

from .strategies import graphs
from .toys import llm, run

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
    manifest = lower(graph)
    for task in manifest.tasks:
        if task.kind == "probe":  # it has no operations of its own, and the task it works for waits for it
            assert manifest.task_by_id[task.part_of].needs == (task.id,)
            continue
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


class Estimated:
    """Holds the estimate of every graph between passes, which remembers earlier ones, against one that remembers nothing."""

    def __init__(self, context):
        self.context = context

    def started(self, name, graph):
        self.compare(graph)

    def finished(self, name, before, after, decisions):
        self.compare(after)

    def compare(self, graph):
        known = estimate(graph, profile=self.context.profile, platform=platform_of(self.context.target), limits=self.context.limits)
        assert self.context.estimate(graph).whole == known


def measured(name: str, hits: int) -> RunProfile:
    asks = [llm(f"op{index}", x="y", **({"temperature": 0} if index % 2 else {})) for index in range(12)]
    return measured_run(name, **{ask.id: asked(ask, [40, 60], [5, 9], [1.0, 2.0], hits=hits) for ask in asks})


PROFILED = profile(measured("one", 0), measured("two", 1))


@settings(max_examples=60, deadline=None)
@given(graph=graphs(), targets=st.lists(TARGETS, min_size=2, max_size=3), known=st.sampled_from([None, PROFILED]))
def test_estimates_that_remember_others_are_those_that_remember_nothing(graph, targets, known):
    shared, limits = Shared(), {"openai": RateLimit(requests_per_minute=60)}
    for target in targets:
        context = PassContext(target=target, profile=known, limits=limits, shared=shared)
        run_passes(graph, PASSES, context, observers=[Estimated(context)])


@settings(max_examples=60, deadline=None)
@given(graph=graphs(), targets=st.lists(TARGETS, min_size=2, max_size=3))
def test_what_contexts_share_changes_no_graph_and_no_decision(graph, targets):
    shared = Shared()
    for target in targets:
        context, alone = PassContext(target=target, shared=shared), PassContext(target=target)
        assert run_passes(graph, PASSES, context) == run_passes(graph, PASSES, alone)
        assert context.decisions == alone.decisions


@settings(max_examples=60, deadline=None)
@given(graph=graphs(), target=TARGETS, data=st.data())
def test_a_check_that_skips_what_was_sound_finds_what_one_of_everything_finds(graph, target, data):
    changed = LLMGraphEnhancer(target=target).enhance(graph)
    broken = data.draw(st.sampled_from(changed.operations or graph.operations))
    changes = data.draw(st.sampled_from([{}, {"inputs": {"x": Ref(operation="nobody")}}, {"map_over": ("nothing",)}, {"items": -1}]))
    gone = data.draw(st.sampled_from(["", *(operation.id for operation in graph)]))
    operations = [op.model_copy(update=changes) if op is broken else op for op in changed if op.id != gone]
    result = changed.replace(operations=operations)
    assert verify(result, sound=graph) == verify(result)


def test_estimates_look_at_every_field_or_at_none_for_a_reason():
    of_no_account = {"id", "kind", "retry", "fused", "probe", "secrets", "env", "image", "description", "source"}
    assert {*COUNTED, *COUNTED_OF_CALLS, *HOW_CALLS_ARE_MADE} | of_no_account == set(LLMOperation.model_fields)


@settings(max_examples=30, deadline=None)
@given(graph=graphs())
def test_every_operation_that_went_has_a_decision(graph):
    result = LLMGraphEnhancer().enhance(graph)
    gone = {operation.id for operation in graph} - {operation.id for operation in result}
    explained = {decision.operation for decision in result.decisions if decision.action == "applied"}
    assert gone <= explained
