"""How long a run takes, played through."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xcs_airflow.cost.simulation import Calls, RateLimit, Stage, Work, fullest_shard, simulate
from xcs_airflow.manifest import shard_of

HOUR = 3600.0


@dataclass
class Tasks:
    """Tasks by number, with what each waits for."""

    needs: dict[int, list[int]]
    tasks: list[int] = field(init=False)

    def __post_init__(self):
        self.tasks = sorted(self.needs)

    def before(self, task):
        return self.needs[task]


def calls(count, latency_s=1.0, *, tokens=0.0, provider="openai", in_flight=1):
    return Stage((Calls(count, latency_s, tokens, provider),), in_flight)


def work(*stages, **fields):
    return Work(stages, **fields)


CHAIN = Tasks({0: [], 1: [0], 2: [1]})
SIDE_BY_SIDE = Tasks({0: [], 1: [], 2: []})
EACH_TEN = {task: work(calls(10)) for task in range(3)}


def test_without_limits_a_run_takes_as_long_as_its_longest_way():
    tasks = Tasks({0: [], 1: [0], 2: [0], 3: [1, 2]})
    seconds = {0: 1, 1: 10, 2: 3, 3: 1}
    found = simulate(tasks, {task: work(calls(count)) for task, count in seconds.items()})
    assert found.makespan_s == 12
    assert found.starts_s == {0: 0, 1: 1, 2: 1, 3: 11}


def test_starting_and_waiting_take_time_at_every_task_of_a_chain():
    works = {0: work(calls(1), start_s=5), 1: work(waits_s=60, start_s=5), 2: work(calls(1), start_s=5)}
    assert simulate(CHAIN, works).makespan_s == 15 + 62


def test_calls_in_flight_go_in_full_waves():
    """Facts on batching, measured with xpyd-sim: 8 answers of 40 tokens took 2.50 s in sequence, 1.28 two by two, 0.39 all at once."""
    assert work(calls(8, 0.3)).busy_s == pytest.approx(2.4)
    assert work(calls(8, 0.3, in_flight=2)).busy_s == pytest.approx(1.2)
    assert work(calls(8, 0.3, in_flight=8)).busy_s == pytest.approx(0.3)
    assert work(calls(9, 0.3, in_flight=8)).busy_s == pytest.approx(0.6)


def test_a_wave_is_not_shorter_than_its_longest_call():
    stage = Stage((Calls(3, 1.0), Calls(1, 9.0)), in_flight=4)
    assert stage.seconds(1) == 9


def test_the_last_wave_takes_as_long_as_its_slowest_call_where_there_are_ten():
    """`benchmarks/optimizer.py`: 12 packs of 1.66 s on average, the slowest of 1.80 s, took 1.84 s side by side."""
    spread = Calls(40, 2.0, slow_s=3.0)
    assert [Stage((spread,), in_flight).seconds(1) for in_flight in (1, 9, 10, 40)] == [80, 10, 9, 3]
    assert Stage((Calls(4, 2.0, slow_s=3.0),), in_flight=40).seconds(1) == 2
    assert Stage((spread, Calls(40, 2.5)), in_flight=40).seconds(1) == 5


def test_who_shares_a_requests_limit_takes_as_long_as_all_of_them_need():
    limits = {"openai": RateLimit(requests_per_minute=60)}
    works = {task: work(calls(100, in_flight=100)) for task in range(3)}
    assert simulate(SIDE_BY_SIDE, works).makespan_s == 1
    assert simulate(SIDE_BY_SIDE, works, limits).makespan_s == 300
    assert simulate(CHAIN, works, limits).makespan_s == 300


def test_a_tokens_limit_counts_input_and_output():
    limits = {"openai": RateLimit(tokens_per_minute=60_000)}
    assert simulate(SIDE_BY_SIDE, {task: work(calls(10, tokens=1000, in_flight=10)) for task in range(3)}, limits).makespan_s == 30


def test_a_limit_of_one_provider_holds_up_no_other():
    limits = {"openai": RateLimit(requests_per_minute=60)}
    works = {**EACH_TEN, 0: work(calls(100, in_flight=100, provider="anthropic"))}
    found = simulate(SIDE_BY_SIDE, works, limits)
    assert (found.ends_s[0], found.makespan_s) == (1, 20)


def test_where_places_are_scarce_the_longest_way_goes_first():
    tasks = Tasks({0: [], 1: [], 2: [1]})
    works = {0: work(calls(10), rank=10), 1: work(calls(10), rank=20), 2: work(calls(10), rank=10)}
    assert simulate(tasks, works, places=1).starts_s == {1: 0, 0: 10, 2: 20}
    assert simulate(tasks, works, places=2).makespan_s == 20


def test_a_task_waits_until_there_are_places_for_all_its_shards():
    works = {0: work(calls(10)), 1: work(calls(40), shards=4), 2: work(calls(10))}
    found = simulate(SIDE_BY_SIDE, works, places=4)
    assert found.starts_s[1] == 10


def test_more_shards_than_places_work_in_rounds():
    works = {0: work(calls(40), shards=4)}
    assert simulate(Tasks({0: []}), works, places=4).makespan_s * 2 == simulate(Tasks({0: []}), works, places=2).makespan_s


def test_what_waits_for_a_batch_takes_no_place():
    works = {task: work(waits_s=HOUR) for task in range(3)}
    assert simulate(SIDE_BY_SIDE, works, places=1).makespan_s == HOUR


@pytest.mark.parametrize(("items", "shards"), [(1000, 4), (10_000, 16), (500, 8)])
def test_the_fullest_shard_is_about_as_full_as_hashes_make_it(items, shards):
    fullest = []
    for run in range(30):
        counts = [0] * shards
        for item in range(items):
            counts[shard_of(f"{run}-{item}", shards)] += 1
        fullest.append(max(counts))
    mean = items / shards
    assert mean < fullest_shard(items, shards)
    assert fullest_shard(items, shards) == pytest.approx(sum(fullest) / len(fullest), rel=0.03)


@given(
    seconds=st.lists(st.integers(1, 20), min_size=1, max_size=12),
    edges=st.sets(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=20),
    places=st.integers(1, 4),
)
def test_list_scheduling_keeps_to_grahams_bound(seconds, edges, places):
    """R. L. Graham, "Bounds on Multiprocessing Timing Anomalies", 1969: at most 2 - 1/m times the best, which no bound undercuts."""
    count = len(seconds)
    tasks = Tasks({task: sorted(a for a, b in edges if b == task and a < b) for task in range(count)})
    works = {task: work(calls(seconds[task])) for task in range(count)}
    longest = simulate(tasks, works).makespan_s
    found = simulate(tasks, works, places=places)
    least = max(longest, sum(seconds) / places)
    assert least <= found.makespan_s <= longest + sum(seconds) / places
    for task in range(count):
        assert all(found.ends_s[other] <= found.starts_s[task] for other in tasks.before(task))
