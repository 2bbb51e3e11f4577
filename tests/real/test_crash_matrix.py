"""Kill -9 at every place where it hurts and at random moments, hundreds of times, against a server that counts."""

import random
import tempfile
from pathlib import Path

import pytest

from .counting_server import counting_server
from .crashing import Run, shop
from .mortal_worker import POINTS, mortal_workers

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


@pytest.fixture(scope="module")
def server():
    with counting_server() as server:
        yield server


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    with mortal_workers(tmp_path_factory.mktemp("workers") / "log") as workers:
        yield workers


@pytest.fixture
def folder():
    """A folder in memory where there is one: what a killed process has written survives there as well, and syncing takes no time."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="xcs-crash-", dir=shared if shared.is_dir() else None) as name:
        yield Path(name)


@pytest.fixture
def run_until(folder, server, workers, record_property):
    """Kills runs until there were enough kills, and checks each of them when it is finished."""

    def run(graph, in_doubt, kills, death):
        unkilled = Run(folder / "unkilled", graph, in_doubt, server, workers)
        assert unkilled.go_on()
        unkilled.check(unkilled.results())
        done = runs = 0
        while done < kills:
            runs += 1
            assert runs <= 5 * kills, "it comes to its end without being killed"
            killed = Run(folder / str(runs), graph, in_doubt, server, workers)
            most = min(KILLS_OF_A_RUN, kills - done)
            while killed.kills < most and not killed.go_on(**death()):
                pass
            killed.go_on()
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
