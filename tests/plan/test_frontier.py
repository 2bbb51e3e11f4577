"""The plans among which money and time leave a choice."""

from __future__ import annotations

from decimal import Decimal

import pytest

from xcs_airflow.cost.compute import platforms
from xcs_airflow.cost.figures import Figure, Money
from xcs_airflow.ir import Graph, LLMMetadata, LLMOperation, Message, Operation, PipelinePolicy, Prompt, Ref
from xcs_airflow.passes import LLMGraphEnhancer
from xcs_airflow.plan import CloudExporter
from xcs_airflow.plan.frontier import Plan, frontier, unbeaten
from xcs_airflow.plan.frontier_text import print_frontier
from xcs_airflow.plan.text import usd
from xcs_airflow.values import Hole


def ask(name, of, *, model="openai/gpt-4.1-mini", text="Which team? "):
    prompt = Prompt(messages=(Message(parts=(text, Hole(input="x"))),))
    return LLMOperation(id=name, prompt=prompt, inputs={"x": Ref(operation=of)}, map_over=("x",), metadata=LLMMetadata(model=model))


def plans(*calls, items=20_000, target=None, **policy):
    load = Operation(id="load", func="a:b", items=items)
    graph = Graph([load, *calls], name="f", policy=PipelinePolicy(**policy))
    return frontier(graph, LLMGraphEnhancer(target=target), CloudExporter(target=target))


def test_no_plan_beats_another():
    found = plans(ask("a", "load", text="word " * 600), ask("b", "a"))
    assert len(found) >= 4
    costs = [plan.cost_usd.expected for plan in found]
    times = [plan.duration_s.expected for plan in found]
    assert costs == sorted(set(costs))
    assert times == sorted(set(times), reverse=True)


def test_the_cheapest_has_room_for_all_batches_and_the_quickest_has_none():
    found = plans(ask("a", "load"), ask("b", "a"))
    assert found[0].mechanisms == {"provider_batch": 2}
    assert 'deadline="50h"' in found[0].knobs
    assert "provider_batch" not in found[-1].mechanisms


@pytest.mark.parametrize("target", [None, "airflow", "aws-batch", "cloud-run"])
def test_the_knobs_of_a_plan_make_it(target):
    """Turned by hand, they give the plan that `xcs plan` shows for the same target."""
    cheapest = plans(ask("a", "load"), ask("b", "a"), target=target)[0]
    load = Operation(id="load", func="a:b", items=20_000)
    graph = Graph([load, ask("a", "load"), ask("b", "a")], name="f", policy=PipelinePolicy(deadline_s=50 * 3600.0))
    totals = CloudExporter(target=target).export(LLMGraphEnhancer(target=target).enhance(graph)).totals
    assert (cheapest.cost_usd, cheapest.compute_usd, cheapest.duration_s) == (totals.cost_usd, totals.compute_usd, totals.duration_s)


def test_for_a_target_its_machines_cost_money_and_its_starts_take_time():
    everywhere, there = (plans(ask("a", "load"), ask("b", "a"), target=target) for target in (None, "aws-batch"))
    assert all(plan.compute_usd is None for plan in everywhere)
    assert all(plan.compute_usd.is_complete and plan.compute_usd.expected > 0 for plan in there)
    assert there[-1].duration_s.expected > everywhere[-1].duration_s.expected + platforms()["aws-batch"].start_s.expected


def test_what_machines_cost_decides_with_what_calls_cost():
    def plan(calls_usd, machines_usd, seconds):
        cost, compute = (Money(low=usd, expected=usd, high=usd) for usd in map(Decimal, (calls_usd, machines_usd)))
        return Plan(knobs=(), cost_usd=cost, compute_usd=compute, duration_s=Figure.exactly(seconds), calls=1, mechanisms={})

    dear, cheap, quick = plan("1.00", "0.50", 60), plan("1.10", "0.01", 50), plan("2.00", "0.01", 10)
    assert unbeaten([dear, quick, cheap]) == (cheap, quick)


def test_where_nothing_can_be_chosen_there_is_one_plan():
    found = plans(Operation(id="end", func="a:b", inputs={"x": Ref(operation="load")}))
    assert [(plan.knobs, plan.mechanisms) for plan in found] == [((), {})]
    assert print_frontier("f", found).splitlines()[0] == "f: one plan that no other one beats"


def test_a_provider_without_a_batch_api_gets_no_longer_deadline():
    found = plans(ask("a", "load", model="mistral/mistral-small"))
    assert not any("deadline" in knob for plan in found for knob in plan.knobs)


def test_a_table_for_a_target_names_what_its_machines_cost_where_that_is_known():
    found = plans(ask("a", "load"), target="cloud-run")
    lines = print_frontier("f", found, "cloud-run").splitlines()
    assert lines[0].startswith("f on cloud-run: ")
    assert lines[2].split()[:5] == ["cost", "in", "USD", "machines", "time"]
    assert lines[3].split()[:2] == [usd(found[0].whole_usd.expected), usd(found[0].compute_usd.expected)]
    assert "machines" not in print_frontier("f", plans(ask("a", "load"), target="airflow"), "airflow")


def test_a_table_names_cost_time_and_what_to_write():
    lines = print_frontier("f", plans(ask("a", "load"))).splitlines()
    assert lines[2].split()[:4] == ["cost", "in", "USD", "time"]
    assert "batch API" in lines[3]
    assert lines[3].endswith('deadline="26h"')
