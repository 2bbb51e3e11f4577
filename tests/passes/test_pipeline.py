"""Passes that fail are left out, and whoever watches sees what happened."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from xcs_airflow.errors import GraphError
from xcs_airflow.ir import Graph, Ref
from xcs_airflow.passes import PASSES, Deduplicate, Explain, LLMGraphEnhancer, PassContext, Prune, Timing, Verify, run_passes

from .cases_groups import two_maps
from .cases_results import equal_chains, no_output_given
from .cases_ways import triage
from .toys import plain


@dataclass(frozen=True)
class Broken:
    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        context.decide(self, "tickets", "about to fail", applied=True, rule="none")
        raise ZeroDivisionError("by nothing")


@dataclass(frozen=True)
class Malformed:
    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        return graph.replace(operations=[plain("end", x="nowhere")])


@dataclass(frozen=True)
class Forgetful:
    def __call__(self, graph: Graph, context: PassContext) -> None:
        return None


@pytest.mark.parametrize(
    ("broken", "code", "word"),
    [
        (Broken(), "XCS301", "ZeroDivisionError: by nothing"),
        (Malformed(), "XCS302", "not well formed"),
        (Forgetful(), "XCS302", "Forgetful"),
    ],
)
def test_a_pass_that_fails_is_left_out_and_reported(broken, code, word):
    graph, context = equal_chains(), PassContext()
    result = run_passes(graph, [Prune(), broken, Deduplicate()], context, observers=[Verify()])
    assert [operation.id for operation in result] == ["load", "a", "b", "end"]
    assert context.findings[0].code == code
    assert {finding.severity for finding in context.findings} == {"warning"}
    (warning,) = [decision for decision in result.decisions if decision.pass_name == type(broken).__name__]
    assert (warning.operation, warning.action, warning.rule) == ("*", "skipped", code)
    assert word in warning.reason


def test_a_failing_pass_alone_leaves_the_graph_as_it_was():
    graph = no_output_given()
    result = run_passes(graph, [Broken()])
    assert result.replace(decisions=()) == graph


def test_a_graph_that_is_not_well_formed_is_the_users_business():
    graph = Graph([plain("a", x="b"), plain("b", x="a")], output=Ref(operation="a"))
    with pytest.raises(GraphError, match="circle"):
        LLMGraphEnhancer().enhance(graph)
    with pytest.raises(GraphError, match="circle"):
        run_passes(graph, [Prune()])


def test_a_graph_with_nothing_to_do_is_the_same_object():
    graph = Graph([plain("a")], output=Ref(operation="a"))
    assert LLMGraphEnhancer().enhance(graph) is graph


@pytest.mark.parametrize("pass_", PASSES, ids=lambda pass_: type(pass_).__name__)
def test_a_pass_with_nothing_to_do_returns_the_same_object(pass_):
    graph = no_output_given()
    assert pass_(graph, PassContext()) is graph


def test_enhancing_a_result_gives_the_same_object():
    once = LLMGraphEnhancer().enhance(triage())
    assert LLMGraphEnhancer().enhance(once) is once


def test_a_later_run_keeps_the_decisions_of_the_first_and_adds_its_own():
    once = LLMGraphEnhancer().enhance(two_maps())
    more = once.replace(operations=[*once, plain("unread", pure=True)], output=Ref(operation="end"))
    twice = LLMGraphEnhancer().enhance(more)
    assert set(twice.decisions) > set(once.decisions)
    assert [decision.operation for decision in twice.decisions if decision not in once.decisions] == ["unread"]


def test_decisions_do_not_change_a_digest():
    graph = two_maps()
    once = LLMGraphEnhancer().enhance(graph)
    assert once.decisions
    assert once.digest() == once.replace(decisions=()).digest()


def test_observers_see_every_pass():
    explain, timing = Explain(), Timing()
    LLMGraphEnhancer(observers=(Verify(), explain, timing)).enhance(triage())
    rewriting = ["Prune", "Deduplicate", "CacheInsertionPass", "PromptBatchingPass", "MarkPrefixes"]
    expected = [*rewriting, "PlaceOnHardware", "FuseSmallTasks", "ProbeBeforeStart", "Schedule"]
    assert list(timing.seconds) == expected
    assert explain.lines[:4] == [
        "Prune: 7 -> 6 operations",
        "  applied %unused: nothing reads it and it is not part of the output (saves 0.048672 USD)",
        "Deduplicate: 6 -> 5 operations",
        "  applied %again: the same call as %team (saves 0.011808 USD)",
    ]


def test_every_decision_says_where_its_rule_comes_from():
    assert all(decision.rule for decision in LLMGraphEnhancer().enhance(triage()).decisions)


def test_graphs_of_the_same_operations_are_estimated_once():
    graph, context = triage(), PassContext()
    estimates = context.estimate(graph)
    assert context.estimate(graph.replace(decisions=(), name="other")) is estimates
    assert context.estimate(graph.replace(operations=list(graph)[:1])) is not estimates
    first, *rest = graph
    changed = graph.replace(operations=[first.model_copy(update={"items": 3}), *rest])
    assert context.estimate(changed) is not estimates


def test_costs_are_those_of_the_estimate_and_hold_for_parts_of_a_graph():
    graph, context = triage(), PassContext()
    costs, estimates = context.costs_usd(graph), context.estimate(graph)
    assert costs == {operation.id: estimates.cost_usd(operation.id) for operation in graph}
    assert context.costs_usd(graph.replace(operations=list(graph)[:1])) is costs
    assert context.costs_usd(graph.replace(parameters=())) is not costs
