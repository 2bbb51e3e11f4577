"""Seconds of one call: declared, else assumed."""

from __future__ import annotations

import pytest

from xcs_airflow.cost.assumptions import Assumed, rows
from xcs_airflow.cost.figures import Figure
from xcs_airflow.cost.latency import Timed, call_latency, calls_at_a_time, function_latency
from xcs_airflow.ir import BatchPolicy, LLMMetadata, LLMOperation, Operation

HUNDRED = Figure.exactly(100)


def ask(model="openai/gpt-4.1-mini", *, func=None, batch=None, **metadata):
    return LLMOperation(id="ask", func=func, metadata=LLMMetadata(model=model, **metadata), batch=batch)


def test_declared_seconds_are_taken_as_they_are():
    assert call_latency(ask(estimated_latency_s=2.5), HUNDRED, Assumed()) == Figure.exactly(2.5)


def test_a_call_takes_the_time_to_its_first_token_and_that_of_each_token():
    found = call_latency(ask(), HUNDRED, Assumed())
    first, each = rows()["first_token_s"], rows()["output_token_s"]
    assert found.expected == pytest.approx(first.expected + 100 * each.expected)
    assert found.low < found.expected < found.high
    assert found.source == "assumed"


def test_measured_seconds_go_before_declared_ones():
    measured = Figure(low=0.1, expected=0.2, high=0.4, source="profile")
    assert call_latency(ask(estimated_latency_s=2.5), HUNDRED, Assumed(), Timed(measured)) == measured


def test_where_answers_were_shorter_calls_take_longer_by_as_much_as_assumed():
    measured = Figure(low=0.1, expected=0.2, high=0.4, source="profile")
    found = call_latency(ask(), HUNDRED, Assumed(), Timed(measured, Figure.exactly(10)))
    first, each = rows()["first_token_s"].expected, rows()["output_token_s"].expected
    assert found == measured.times((first + 100 * each) / (first + 10 * each))
    assert found.expected > measured.expected


def test_what_calls_to_a_local_model_took_is_not_used():
    measured = Timed(Figure.exactly(9))
    assert call_latency(ask("local/smollm2"), HUNDRED, Assumed(), measured) == call_latency(ask("local/smollm2"), HUNDRED, Assumed())


def test_local_models_have_rows_of_their_own():
    assert call_latency(ask("local/smollm2-135m"), Figure.exactly(16), Assumed()).expected == pytest.approx(0.15)


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (ask(), 1),
        (ask(batch=BatchPolicy(group="g", in_flight=32)), 32),
        (ask(func="a:b", batch=BatchPolicy(group="g", in_flight=32)), 1),
        (ask("local/smollm2", batch=BatchPolicy(group="g", in_flight=32)), 1),
        (Operation(id="plain", func="a:b"), 1),
    ],
    ids=["alone", "in flight", "own call", "local", "plain"],
)
def test_calls_make_progress_side_by_side_where_they_wait(operation, expected):
    assert calls_at_a_time(operation, Assumed()) == expected


def test_a_plain_function_is_ended_by_its_timeout():
    free = function_latency(Operation(id="f", func="a:b"), Assumed())
    assert (free.low, free.expected, free.high) == (0, 1, 60)
    assert function_latency(Operation(id="f", func="a:b", timeout_s=10), Assumed()).high == 10
