"""Kill -9 at every place where it hurts and at random moments, hundreds of times, against a server that counts."""

import random

import pytest

from .crashing import shop
from .mortal_worker import DONE, KILLED, POINTS

pytestmark = pytest.mark.real

KILLS_AT_A_POINT = 10
KILLS_AT_RANDOM = 24
KILLS_OF_A_RUN = 6
"""After so many a run may come to its end, so that each begins at some other state."""

ONE, SIDE_BY_SIDE = ("sort",), ("sort", "sum up")
AT_A_POINT = [(point, in_flight) for point in POINTS for in_flight in (1, 8)]
AT_RANDOM = [
    (questions, in_flight, is_remembered) for questions in (ONE, SIDE_BY_SIDE) for in_flight in (1, 8) for is_remembered in (True, False)
]


@pytest.fixture
def run_until(run_of, record_property):
    """Kills runs until there were enough kills, and checks each of them when it is finished."""

    def run(graph, in_flight, kills, death):
        unkilled = run_of(graph, in_flight)
        assert unkilled.go_on() == [DONE]
        unkilled.check(unkilled.results())
        done = runs = 0
        while done < kills:
            runs += 1
            assert runs <= 5 * kills, "it comes to its end without being killed"
            killed = run_of(graph, in_flight)
            most = min(KILLS_OF_A_RUN, kills - done)
            while killed.kills < most and killed.go_on(death()) == [KILLED]:
                pass
            assert killed.go_on() == [DONE]
            killed.check(unkilled.results())
            done += killed.kills
        record_property("kills", done)

    return run


@pytest.mark.parametrize(("point", "in_flight"), AT_A_POINT)
def test_a_crash_at_a_point_loses_nothing(run_until, point, in_flight):
    chance = random.Random(f"{point} {in_flight}")
    run_until(shop(in_flight), in_flight, KILLS_AT_A_POINT, lambda: {"point": point, "nth": chance.choice((1, 1, 2, 3))})


@pytest.mark.parametrize(("questions", "in_flight", "is_remembered"), AT_RANDOM)
def test_a_crash_at_any_moment_loses_nothing(run_until, questions, in_flight, is_remembered):
    chance = random.Random(f"{questions} {in_flight} {is_remembered}")
    graph = shop(in_flight, questions, is_remembered=is_remembered)
    run_until(graph, in_flight, KILLS_AT_RANDOM, lambda: {"delay_s": chance.uniform(0, 0.15)})


def test_the_crash_matrix_has_at_least_500_kills():
    assert len(AT_A_POINT) * KILLS_AT_A_POINT + len(AT_RANDOM) * KILLS_AT_RANDOM >= 500
