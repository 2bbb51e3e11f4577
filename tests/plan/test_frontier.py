"""The plans among which money and time leave a choice."""

from __future__ import annotations

from xcs_airflow.ir import Graph, LLMMetadata, LLMOperation, Message, Operation, PipelinePolicy, Prompt, Ref
from xcs_airflow.passes import LLMGraphEnhancer
from xcs_airflow.plan import CloudExporter
from xcs_airflow.plan.frontier import frontier
from xcs_airflow.plan.frontier_text import print_frontier
from xcs_airflow.values import Hole


def ask(name, of, *, model="openai/gpt-4.1-mini", text="Which team? "):
    prompt = Prompt(messages=(Message(parts=(text, Hole(input="x"))),))
    return LLMOperation(id=name, prompt=prompt, inputs={"x": Ref(operation=of)}, map_over=("x",), metadata=LLMMetadata(model=model))


def plans(*calls, items=20_000, **policy):
    load = Operation(id="load", func="a:b", items=items)
    return frontier(Graph([load, *calls], name="f", policy=PipelinePolicy(**policy)), LLMGraphEnhancer(), CloudExporter())


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


def test_the_knobs_of_a_plan_make_it():
    """Turned by hand, they give the same cost and time."""
    cheapest = plans(ask("a", "load"), ask("b", "a"))[0]
    by_hand = plans(ask("a", "load"), ask("b", "a"), deadline_s=50 * 3600.0)
    untouched = next(plan for plan in by_hand if not plan.knobs)
    assert (untouched.cost_usd, untouched.duration_s) == (cheapest.cost_usd, cheapest.duration_s)


def test_where_nothing_can_be_chosen_there_is_one_plan():
    found = plans(Operation(id="end", func="a:b", inputs={"x": Ref(operation="load")}))
    assert [(plan.knobs, plan.mechanisms) for plan in found] == [((), {})]
    assert print_frontier("f", found).splitlines()[0] == "f: one plan that no other one beats"


def test_a_provider_without_a_batch_api_gets_no_longer_deadline():
    found = plans(ask("a", "load", model="mistral/mistral-small"))
    assert not any("deadline" in knob for plan in found for knob in plan.knobs)


def test_a_table_names_cost_time_and_what_to_write():
    lines = print_frontier("f", plans(ask("a", "load"))).splitlines()
    assert lines[2].split()[:4] == ["cost", "in", "USD", "time"]
    assert "batch API" in lines[3]
    assert lines[3].endswith('deadline="26h"')
