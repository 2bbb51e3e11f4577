"""The loop of a task that polls: what it waits for, and that the history of an execution has room for it."""

import pytest

from xcs_airflow.cost.batch_priming import POLL_PAUSE_S
from xcs_airflow.errors import UnsupportedError
from xcs_airflow.plan import CloudExporter
from xcs_airflow.plan.cloud_graph import Wait
from xcs_exporters.aws_batch.polling import LONGEST_S, MAX_EVENTS, Patience
from xcs_exporters.aws_batch.state_machine import patience

from .conftest import batched_graph

DAY = Wait(every_s=60, at_most_s=86_400)


@pytest.mark.parametrize("longest_s", [30, 60, 61, 900, 3600])
@pytest.mark.parametrize(
    "wait", [DAY, Wait(every_s=1, at_most_s=1), Wait(every_s=7, at_most_s=100_000), Wait(every_s=100_000, at_most_s=5)]
)
def test_it_waits_as_long_as_the_plan_says_and_one_wait_more_at_most(wait, longest_s):
    chosen = Patience.of(wait, longest_s)
    assert wait.at_most_s <= chosen.seconds < wait.at_most_s + chosen.longest_s + 1
    assert chosen.seconds == sum(wait.pauses_s(2, longest_s))


def test_waits_grow_up_to_the_longest():
    assert DAY.pauses_s(2, 900)[:6] == (60, 120, 240, 480, 900, 900)
    assert LONGEST_S[0] == POLL_PAUSE_S
    assert Patience.of(DAY, 900) == Patience(first_s=60, longest_s=900, waits=99)


def test_the_job_of_a_loop_is_not_tried_again_for_75(emit, definitions):
    found = definitions(emit(batched_graph()))
    rules = {task: definition["retryStrategy"]["evaluateOnExit"] for task, definition in found.items()}
    assert rules["ask.poll"] == rules["ask.submit"][1:]
    assert rules["ask.submit"][0] == {"onExitCode": "75", "action": "RETRY"}


@pytest.mark.parametrize(("groups", "longest_s"), [(1, 900), (8, 900), (9, 1800), (16, 1800), (17, 3600), (30, 3600)])
def test_many_loops_wait_longer_so_that_the_history_has_room(groups, longest_s):
    plan = CloudExporter().export(batched_graph(groups))
    chosen = patience(plan)
    assert {one.longest_s for one in chosen.values()} == {longest_s}
    assert sum(one.events for one in chosen.values()) <= MAX_EVENTS


def test_more_loops_than_the_history_has_room_for_are_refused(emit):
    with pytest.raises(UnsupportedError, match=r"XCS502.*40 provider batches: the history of an execution has 25000 events"):
        emit(batched_graph(40))
