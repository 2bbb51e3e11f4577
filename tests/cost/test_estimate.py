"""What a run is expected to do, as a whole."""

from __future__ import annotations

from decimal import Decimal

import pytest

from xcs_airflow.cost.compute import platforms
from xcs_airflow.cost.estimate import estimate
from xcs_airflow.cost.prices import PriceBook
from xcs_airflow.cost.simulation import RateLimit
from xcs_airflow.cost.work import priced_model
from xcs_airflow.errors import GraphError
from xcs_airflow.ir import (
    BatchPolicy,
    CachePolicy,
    Constant,
    Graph,
    LLMMetadata,
    LLMOperation,
    Operation,
    Ref,
)

LOAD = Operation(id="load", func="a:b", items=40, distinct_items=10)
DECLARED = {"estimated_input_tokens": 1000, "estimated_output_tokens": 100, "estimated_latency_s": 2}
CALL_USD = PriceBook.load().price("openai/gpt-4.1-mini", 1000, 100)


def ask(name, of="load", *, mapped=True, metadata=None, **fields):
    data = LLMMetadata(**{"model": "openai/gpt-4.1-mini", **DECLARED, **(metadata or {})})
    inputs = {"x": Ref(operation=of)}
    return LLMOperation(id=name, prompt_func="a:b", inputs=inputs, map_over=("x",) if mapped else (), metadata=data, **fields)


def test_every_item_is_a_call():
    found = estimate(Graph([LOAD, ask("a")])).of("a")
    assert (found.calls_before, found.calls) == (40, 40)
    assert found.input_tokens.expected == 40_000
    assert found.output_tokens.expected == 4_000
    assert found.cost_usd.expected == 40 * CALL_USD
    assert found.duration_s.expected == 80
    assert (found.items, found.distinct_items) == (40, None)


def test_repeats_are_saved_only_where_answers_are_remembered():
    found = estimate(Graph([LOAD, ask("a", cache=CachePolicy())])).of("a")
    assert (found.calls_before, found.calls) == (40, 10)
    assert found.cost_usd.expected == 10 * CALL_USD


def test_calls_in_flight_and_shards_shorten_a_run_in_full_waves():
    batch = BatchPolicy(group="g", in_flight=16)
    assert estimate(Graph([LOAD, ask("a", batch=batch)])).of("a").duration_s.expected == 3 * 2
    assert estimate(Graph([LOAD, ask("a", batch=batch, shards=2)])).of("a").duration_s.expected == 2 * 2


def test_calls_through_a_batch_api_cost_half_and_take_as_long_as_the_batch():
    batch = BatchPolicy(group="g", mechanism="provider_batch")
    found = estimate(Graph([LOAD, ask("a", batch=batch)])).of("a")
    assert found.cost_usd.expected == 40 * CALL_USD / 2
    assert found.cost_usd.is_complete
    assert found.duration_s.expected == 3600


def test_a_batch_whose_discount_nobody_knows_has_no_price():
    batch = BatchPolicy(group="g", mechanism="provider_batch")
    found = estimate(Graph([LOAD, ask("a", batch=batch, metadata={"model": "groq/llama-3.1-8b-instant"})])).of("a")
    assert found.cost_usd.unknown == ("groq/llama-3.1-8b-instant",)


def test_operations_of_a_group_share_its_calls_in_flight():
    batch = BatchPolicy(group="g", in_flight=16)
    found = estimate(Graph([LOAD, ask("a", batch=batch), ask("b", batch=batch)]))
    assert found.of("a").duration_s.expected + found.of("b").duration_s.expected == 5 * 2
    assert found.duration_s.expected == 1 + 5 * 2


def test_single_calls_of_a_group_take_the_time_of_one():
    batch = BatchPolicy(group="g", in_flight=3)
    found = estimate(Graph([LOAD, *(ask(name, mapped=False, batch=batch) for name in "abc")]))
    assert found.duration_s.expected == pytest.approx(1 + 2)


def test_a_run_takes_as_long_as_its_longest_way():
    found = estimate(Graph([LOAD, ask("a", mapped=False), ask("b", "a", mapped=False), ask("c", mapped=False)]))
    assert found.duration_s.expected == 1 + 2 + 2


def test_on_a_platform_every_task_of_a_chain_has_to_start():
    graph = Graph([LOAD, ask("a", mapped=False), ask("b", "a", mapped=False)])
    fargate = platforms()["aws-batch"]
    found = estimate(graph, platform=fargate)
    assert found.duration_s.expected == pytest.approx(1 + 2 + 2 + 3 * fargate.start_s.expected)
    assert not any("start tasks" in sentence for sentence in found.assumptions)
    assert any("start tasks" in sentence for sentence in estimate(graph).assumptions)


def test_airflow_works_on_so_many_tasks_of_a_run_at_a_time():
    """`core.max_active_tasks_per_dag` is 16 by default."""
    calls = [ask(f"c{index}", mapped=False, metadata={"estimated_latency_s": 100}) for index in range(32)]
    assert estimate(Graph(calls_without_load(calls))).duration_s.expected == 100
    assert estimate(Graph(calls_without_load(calls)), platform=platforms()["airflow"]).duration_s.expected == 204


def calls_without_load(calls):
    return [call.model_copy(update={"inputs": {"x": Constant(constant="x")}}) for call in calls]


def test_a_providers_limit_makes_a_run_longer():
    batch = BatchPolicy(group="g", in_flight=40)
    graph = Graph([LOAD, ask("a", batch=batch)])
    assert estimate(graph).duration_s.expected == 3
    limits = {"openai": RateLimit(requests_per_minute=10)}
    assert estimate(graph, limits=limits).duration_s.expected == 1 + 240
    assert estimate(graph, limits=limits).of("a").duration_s.expected == 240


def test_a_price_given_by_the_author_beats_the_table():
    found = estimate(Graph([LOAD, ask("a", metadata={"model": "nobody/knows", "estimated_cost_usd": Decimal("0.5")})]))
    assert found.cost_usd.expected == 20
    assert found.cost_usd.is_complete


def test_an_unknown_price_makes_a_total_a_lower_bound():
    found = estimate(Graph([LOAD, ask("a"), ask("b", metadata={"model": "nobody/knows"})]))
    assert found.cost_usd.expected == 40 * CALL_USD
    assert found.cost_usd.unknown == ("nobody/knows",)
    assert found.of("b").cost_usd.expected == 0
    assert not found.of("b").cost_usd.is_complete


def test_a_users_prices_are_used(tmp_path):
    path = tmp_path / "p.json"
    rates = '{"input_per_million_usd": 10, "output_per_million_usd": 0}'
    path.write_text(f'{{"source": "us", "as_of": "2026-01-01", "models": {{"nobody/knows": {rates}}}}}')
    found = estimate(Graph([LOAD, ask("b", metadata={"model": "nobody/knows"})]), PriceBook.load(path))
    assert found.cost_usd.expected == Decimal("0.4")
    assert found.prices.overrides == "p.json: us (2026-01-01)"


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"model": "openai/gpt-4o"}, "openai/gpt-4o"),
        ({"model": "gpt-4o", "provider": "openai"}, "openai/gpt-4o"),
        ({"model": "openai/gpt-4o", "provider": "openai"}, "openai/gpt-4o"),
        ({"model": "openai/gpt-4o", "provider": "openrouter"}, "openrouter/openai/gpt-4o"),
        ({"model": "gpt-4o"}, "gpt-4o"),
    ],
)
def test_models_are_priced_at_who_serves_them(metadata, expected):
    assert priced_model(LLMMetadata(**metadata)) == expected


def test_what_may_be_skipped_costs_nothing_at_best():
    found = estimate(Graph([LOAD, ask("a", when=Constant(constant=True))])).of("a")
    assert (found.cost_usd.low, found.cost_usd.expected) == (0, 40 * CALL_USD)
    assert (found.input_tokens.low, found.duration_s.low) == (0, 0)


def test_plain_functions_make_no_calls_and_cost_no_tokens(graph):
    found = estimate(graph).of("report")
    assert (found.calls_before, found.calls, found.cost_usd.expected) == (0, 0, 0)
    assert found.cost_usd.is_complete


def test_ends_are_in_order(any_graph):
    found = estimate(any_graph)
    for entry in [*found.operations, found]:
        for figure in (entry.input_tokens, entry.output_tokens, entry.duration_s, entry.cost_usd):
            assert figure.low <= figure.expected <= figure.high


def test_the_whole_is_the_sum_of_its_operations(any_graph):
    found = estimate(any_graph)
    assert [entry.operation for entry in found.operations] == [operation.id for operation in any_graph]
    assert found.calls == sum(entry.calls for entry in found.operations)
    assert found.cost_usd.expected == sum(entry.cost_usd.expected for entry in found.operations)
    assert len(set(found.assumptions)) == len(found.assumptions)


def test_an_estimate_is_the_same_every_time(any_graph):
    assert estimate(any_graph) == estimate(any_graph)


def test_an_empty_graph_does_nothing():
    found = estimate(Graph())
    assert (found.calls, found.cost_usd.expected, found.duration_s.expected) == (0, 0, 0)


def test_groups_that_wait_for_each_other_are_refused():
    batch = BatchPolicy(group="g", in_flight=2)
    operations = [ask("a", mapped=False, batch=batch), Operation(id="b", func="a:b", inputs={"x": Ref(operation="a")})]
    with pytest.raises(GraphError, match="the task of a -> the task of b"):
        estimate(Graph([LOAD, *operations, ask("c", "b", mapped=False, batch=batch)]))


def test_ten_thousand_operations_are_estimated():
    operations = [LOAD, *(ask(f"c{index}", "load" if index < 10 else f"c{index // 10}") for index in range(9_999))]
    assert estimate(Graph(operations)).calls == 9_999 * 40
