import asyncio

import pytest

from xcs_airflow.runtime.models import ModelAnswer, ModelRequest
from xcs_airflow.runtime.models.tokens import expected_tokens, used_tokens
from xcs_airflow.runtime.pacing import Pacing, backoff_s


class Clock:
    def __init__(self):
        self.now = 1000.0
        self.slept = []

    def __call__(self):
        return self.now

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


@pytest.fixture
def clock():
    return Clock()


def pacing(clock, in_flight=8, per_minute=None, tokens_per_minute=None):
    return Pacing(in_flight, per_minute, tokens_per_minute, clock=clock, sleep=clock.sleep)


def test_no_more_calls_are_in_flight_than_allowed(clock):
    pace = pacing(clock, in_flight=3)
    now = most = 0

    async def one():
        nonlocal now, most
        await pace.enter()
        now, most = now + 1, max(most, now + 1)
        await asyncio.sleep(0)
        now -= 1
        pace.leave()

    async def run():
        await asyncio.gather(*(one() for _ in range(20)))

    asyncio.run(run())
    assert most == 3
    assert clock.slept == []


def test_a_limit_halves_the_calls_in_flight_and_pauses_everybody(clock):
    pace = pacing(clock)

    async def run():
        began = await pace.enter()
        pace.leave()
        pace.slow_down(began, 5)
        assert pace.allowed == 4
        return await pace.enter()

    assert asyncio.run(run()) == 1005
    assert clock.slept == [5]


def test_calls_that_began_before_a_cut_do_not_cut_again(clock):
    pace = pacing(clock)
    for _ in range(5):
        pace.slow_down(began=clock.now, wait_s=1)
        clock.now += 0.1
        pace.slow_down(began=clock.now - 0.15, wait_s=1)
    assert pace.allowed == 1
    fresh = pacing(clock)
    began = clock.now
    clock.now += 1
    for _ in range(8):
        fresh.slow_down(began, wait_s=1)
        clock.now += 0.01
    assert fresh.allowed == 4


def test_every_round_of_answers_adds_one(clock):
    pace = pacing(clock)
    pace.slow_down(clock.now, 0)
    seen = []
    for _ in range(40):
        pace.speed_up()
        seen.append(pace.allowed)
    assert sorted(seen) == seen
    assert seen[3] == 4 or seen[4] == 5
    assert seen[-1] == 8
    assert pace.answered == 40


def test_the_shortest_pause_never_ends_a_longer_one(clock):
    pace = pacing(clock)
    pace.slow_down(clock.now, 10)
    pace.slow_down(clock.now, 1)
    assert asyncio.run(pace.enter()) == 1010


def test_calls_begin_no_faster_than_the_minute_allows(clock):
    pace = pacing(clock, per_minute=120)

    async def run():
        begun = []
        for _ in range(5):
            begun.append(await pace.enter())
            pace.leave()
        return begun

    assert asyncio.run(run()) == [1000, 1000.5, 1001, 1001.5, 1002]


def test_who_is_cancelled_while_waiting_gives_its_place_back(clock):
    pace = pacing(clock, in_flight=1)

    async def run():
        await pace.enter()
        waiting = asyncio.create_task(pace.enter())
        patient = asyncio.create_task(pace.enter())
        await asyncio.sleep(0)
        waiting.cancel()
        pace.leave()
        await asyncio.wait_for(patient, 5)

    asyncio.run(run())


def test_a_place_given_to_somebody_who_was_cancelled_goes_to_the_next(clock):
    pace = pacing(clock, in_flight=1)

    async def run():
        await pace.enter()
        first, second = asyncio.create_task(pace.enter()), asyncio.create_task(pace.enter())
        await asyncio.sleep(0)
        pace.leave()
        first.cancel()
        await asyncio.wait_for(second, 5)

    asyncio.run(run())


def test_backoff_doubles_up_to_a_minute_and_spreads_over_the_whole_range():
    assert [backoff_s(attempt, lambda low, high: high) for attempt in (1, 2, 3, 20)] == [1, 2, 4, 60]
    assert backoff_s(5, lambda low, high: low) == 0


REQUEST = ModelRequest("m/x", [{"role": "user", "content": "x" * 384}], max_tokens=100)


def test_a_request_counts_its_prompt_and_its_longest_answer():
    assert expected_tokens(REQUEST) == 96 + 4 + 100


def test_what_the_provider_does_not_count_is_taken_as_expected():
    assert [used_tokens(ModelAnswer("x", *counts), 200) for counts in [(100, 20), (100, None), (None, 20)]] == [120, 200, 200]


def begun(clock, *used, answers_take_s=0.0):
    """When each call began, one after the other, at 1,200 tokens a minute, when each is expected to use 200."""
    pace = pacing(clock, tokens_per_minute=1200)

    async def run():
        times = []
        for tokens in used:
            times.append(await pace.enter(200))
            clock.now += answers_take_s
            pace.spend(times[-1], 200, tokens)
            pace.leave()
        return [time - 1000 for time in times]

    return asyncio.run(run())


def test_calls_wait_until_the_minute_has_made_up_for_the_tokens_used(clock):
    assert begun(clock, 120, 120, 120, 120) == [0, 6, 12, 18]
    assert clock.slept == [6, 6, 6]


def test_the_time_an_answer_takes_counts(clock):
    assert begun(clock, 120, 120, 120, answers_take_s=4) == [0, 6, 12]


def test_a_refused_call_uses_no_tokens_and_one_that_broke_off_may_have(clock):
    assert begun(clock, 0, 200, 0) == [0, 0, 10]


def test_an_idle_minute_is_not_saved_up(clock):
    pace = pacing(clock, tokens_per_minute=1200)

    async def run():
        clock.now += 600
        for _ in range(2):
            pace.spend(await pace.enter(200), 200, 200)
        return await pace.enter(200)

    assert asyncio.run(run()) == 1620


def side_by_side(clock, expected, used, *, calls=20, tokens_per_minute=1200):
    """How many tokens calls that are made side by side were going to use, at a time."""
    pace = pacing(clock, in_flight=calls, tokens_per_minute=tokens_per_minute)
    going = most = 0

    async def one():
        nonlocal going, most
        began = await pace.enter(expected)
        going += expected
        most = max(most, going)
        while clock.now < began + 1:
            await asyncio.sleep(0)
            clock.now += 0.01
        going -= expected
        pace.spend(began, expected, used)
        pace.leave()

    async def run():
        await asyncio.gather(*(one() for _ in range(calls)))

    asyncio.run(run())
    return most


def test_calls_in_flight_are_going_to_use_no_more_tokens_than_the_minute_has(clock):
    assert side_by_side(clock, 400, 100) == 1200


def test_one_call_that_needs_more_than_a_minute_has_goes_alone(clock):
    assert side_by_side(clock, 2000, 100, calls=3) == 2000


def test_without_limits_nothing_is_counted_and_nobody_waits(clock):
    pace = pacing(clock)
    assert not pace.counts_tokens
    pace.spend(1000, 0, 10**9)
    assert asyncio.run(pace.enter()) == 1000


def test_a_pace_that_is_free_does_not_wait(clock):
    pace = pacing(clock, in_flight=1)
    assert pace.is_free
    with pytest.raises(StopIteration):
        pace.enter().send(None)
    assert not pace.is_free
    pace.leave()
    assert pace.is_free
    pace.slow_down(clock(), 5)
    assert not pace.is_free
    assert not pacing(clock, per_minute=60).is_free
    assert not pacing(clock, tokens_per_minute=60).is_free
