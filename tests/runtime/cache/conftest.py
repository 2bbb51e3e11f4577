"""A cache of every kind, one after the other."""

import pytest

from .places import PLACES, SqlitePlace, redis_server


@pytest.fixture(scope="session", autouse=True)
def _no_server_is_left():
    yield
    # By itself the server stays as long as a client is connected, even one of a process that is gone.
    if redis_server.cache_info().currsize:
        redis_server().shutdown(nosave=True)


@pytest.fixture(params=PLACES)
def place(request, tmp_path):
    made = PLACES[request.param](tmp_path)
    yield made
    made.close()


@pytest.fixture(params=[name for name, kind in PLACES.items() if kind.shares])
def shared_place(request, tmp_path):
    """A place that several caches, processes or machines share."""
    made = PLACES[request.param](tmp_path)
    yield made
    made.close()


@pytest.fixture
def cache(place):
    return place.open()


@pytest.fixture
def sqlite_place(tmp_path):
    made = SqlitePlace(tmp_path)
    yield made
    made.close()
