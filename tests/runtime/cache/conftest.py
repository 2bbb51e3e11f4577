"""A cache of every kind, one after the other."""

import pytest

from .places import PLACES, SqlitePlace


@pytest.fixture(params=PLACES)
def place(request, tmp_path):
    made = PLACES[request.param](tmp_path)
    yield made
    made.close()


@pytest.fixture
def shared_place(place):
    """A place that several caches, processes or machines share."""
    if not place.shares:
        pytest.skip("nothing is shared here")
    return place


@pytest.fixture
def cache(place):
    return place.open()


@pytest.fixture
def sqlite_place(tmp_path):
    made = SqlitePlace(tmp_path)
    yield made
    made.close()
