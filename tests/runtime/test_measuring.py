"""What is measured of a run, from its books and results alone."""

import json

from tests.runtime.running import asking, run_all
from xcs_airflow.cost.prices import PriceBook
from xcs_airflow.ir import CachePolicy, Graph, Operation, Ref
from xcs_airflow.plan.lower import lower
from xcs_airflow.runtime.measuring import measured_operations
from xcs_airflow.runtime.runs import Run
from xcs_airflow.runtime.store import LocalStore, open_store

RUN = Run.named("graph", "run")


def price(*_, is_batch=False, **_others):
    return 2 - is_batch


def graph(**fields):
    load = Operation(id="load", func="pipeline:load")
    ask = asking("ask", Ref(operation="load"), cache=CachePolicy(), **fields)
    return Graph([load, ask])


def test_a_run_is_measured_by_operation(code, settings, model):
    manifest = lower(graph())
    run_all(manifest, settings)
    measured, used = measured_operations(open_store(settings.store), price, RUN)
    assert list(measured) == ["ask", "load"]
    assert (measured["load"].items, measured["load"].shape, measured["load"].calls) == (measured["ask"].rows, None, 0)
    assert measured["load"].busy_ms is not None
    ask = measured["ask"]
    assert (ask.shape, ask.model, ask.pack) == (manifest.task_by_id["ask"].steps[0].call.shape, "openai/gpt-4.1-mini", 1)
    assert (ask.calls, ask.hits) == (used.total.calls, 0)
    assert ask.calls + ask.duplicates == ask.rows == ask.items
    assert (ask.input_tokens.total, ask.output_tokens.total) == (used.total.input_tokens, used.total.output_tokens)
    assert ask.call_ms.count == ask.calls > 0
    assert ask.cost_usd == used.total.list_cost_usd == ask.calls * PriceBook.load().price(ask.model, 10, 2)
    assert ask.busy_ms is None


def test_a_second_run_is_measured_as_hits(code, settings, model):
    run_all(lower(graph()), settings)
    run_all(lower(graph()), settings, "again")
    ask = measured_operations(open_store(settings.store), price, Run.named("graph", "again"))[0]["ask"]
    assert (ask.calls, ask.hits) == (0, ask.rows)


def test_a_prompt_that_changed_during_a_run_has_no_shape(code, settings, model):
    run_all(lower(graph()), settings)
    run_all(lower(graph(text="of ")), settings)
    assert measured_operations(open_store(settings.store), price, RUN)[0]["ask"].shape is None


def records(store, *lines):
    appender = store.appender(f"{RUN.folder}/ledger/ask/0-of-1.1.a.jsonl")
    appender.write(*(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines))
    appender.close()
    return measured_operations(store, price, RUN)[0]["ask"]


def settled(outcome="answered", mechanism="concurrent", **facts):
    tokens = {"input_tokens": 10, "output_tokens": 2, "cached_tokens": 4, "seconds": 0.25}
    whose = {"operation": "ask", "model": "m/x", "mechanism": mechanism}
    return {"event": "settled", **whose, "outcome": outcome, "billed_as": "m/x", **tokens, **facts}


def test_batches_have_tokens_and_money_and_the_time_until_the_last_was_taken_in(tmp_path):
    batches = [settled(mechanism="provider_batch", seconds=seconds) for seconds in (1800, 2400.5)]
    ask = records(LocalStore(tmp_path), settled(), *batches)
    assert (ask.batch_ms, ask.call_ms.count, ask.call_ms.total, ask.input_tokens.count) == (2_400_500, 1, 250, 3)


def test_where_no_batch_was_or_a_clock_was_set_back_none_took_any_time(tmp_path):
    ask = records(LocalStore(tmp_path), settled(), settled(mechanism="provider_batch", seconds=0))
    assert ask.batch_ms is None
    assert (ask.calls, ask.input_tokens.count, ask.call_ms.count, ask.cost_usd, ask.cached_tokens) == (2, 2, 1, 3, 8)


def test_answers_that_could_not_be_used_count_apart_and_torn_lines_not_at_all(tmp_path):
    refused = {"event": "settled", "operation": "ask", "model": "m/x", "outcome": "refused", "reason": "no"}
    ask = records(LocalStore(tmp_path), settled("discarded"), settled(input_tokens=None), refused, b'{"event": "settl')
    assert (ask.calls, ask.discarded, ask.input_tokens.count, ask.output_tokens.count, ask.cost_usd) == (1, 1, 1, 2, None)
