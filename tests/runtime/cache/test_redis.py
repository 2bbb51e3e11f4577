"""The Redis cache: claims that run out, and what becomes of servers that refuse or do not answer."""

import os
import signal
import sys

import pytest

from xcs_airflow.errors import RuntimeTaskError
from xcs_airflow.runtime.cache import open_cache
from xcs_airflow.runtime.cache.redis import RedisCache
from xcs_airflow.runtime.store import StoreUnavailableError

from .claimants import claimants, taken_within
from .places import RedisPlace, answer, key

A, B = key(1), key(2)
LEASE_S = 1.0

CLAIMANT = """
import sys
from xcs_airflow.runtime.cache.redis import RedisCache
claims = RedisCache(sys.argv[1], lease_s=1.0).claims()
"""


@pytest.fixture
def place(tmp_path):
    made = RedisPlace(tmp_path)
    made.lease_s = LEASE_S
    yield made
    made.close()


@pytest.fixture
def claimant(place):
    with claimants(CLAIMANT, place.address) as start:
        yield start


def test_whoever_lives_keeps_its_claims(place, claimant):
    claimant(A)
    claims = place.open().claims()
    assert taken_within(claims, [A], 2.5 * LEASE_S)[0] == set()
    claims.close()


def test_whoever_was_killed_loses_them_when_the_lease_runs_out(place, claimant):
    other = claimant(A, B)
    other.send_signal(signal.SIGKILL)
    other.wait()
    claims = place.open().claims()
    assert taken_within(claims, [A, B], 30)[0] == {A, B}
    claims.close()


def test_who_stalled_leaves_the_claims_of_others_alone(place):
    stalled, other = (place.open().claims() for _ in range(2))
    stalled.take([A, B])
    place.server.delete(f"xcs::claim:{A}")  # as when its lease ran out
    assert other.take([A, B]) == {A}
    stalled.close()
    assert place.open().claims().take([A, B]) == {B}
    other.close()


def test_a_forked_child_neither_holds_nor_loses_the_claims_of_its_parent(place):
    claims = place.open().claims()
    claims.take([A])
    child = os.fork()
    if child == 0:
        claims.release([A])
        claims.close()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert place.open().claims().take([A]) == set()
    claims.close()


def test_nothing_is_left_of_who_ends_well(place):
    claims = place.open().claims()
    claims.take([A, B])
    claims.release([A])
    claims.close()
    assert place.server.keys("*") == []


def test_other_names_in_the_server_are_left_alone(place):
    place.server.set("answer:1", "x")
    place.server.set("xcs:other:answer:1", "x")
    cache = place.open()
    cache.put_many({A: answer()})
    assert list(cache.keys()) == [A]
    assert cache.remove(cache.keys()) == 1
    assert sorted(place.server.keys("*")) == [b"answer:1", b"xcs:other:answer:1"]


def test_a_server_that_does_not_answer_is_worth_another_try_and_its_password_is_not_told(tmp_path):
    cache = RedisCache("redis://ann:hunter2@127.0.0.1:9/0")
    for ask in (lambda: cache.get_many([A]), lambda: cache.put_many({A: answer()}), lambda: cache.claims().take([A]), cache.keys):
        with pytest.raises(StoreUnavailableError, match="XCS614") as caught:
            ask()
        assert "redis://127.0.0.1:9/0" in str(caught.value)
        assert "hunter2" not in str(caught.value)


def test_a_wrong_password_is_final(place):
    place.server.config_set("requirepass", "right")
    try:
        with pytest.raises(RuntimeTaskError, match="XCS614") as caught:
            RedisCache(f"{place.address}?password=wrong").get_many([A])
    finally:
        place.server.execute_command("AUTH", "right")
        place.server.config_set("requirepass", "")
    assert not getattr(caught.value, "retryable", False)
    assert "wrong" not in str(caught.value)


def test_a_server_that_is_gone_at_the_end_costs_nothing_but_patience(place, caplog):
    claims = place.open().claims()
    claims.take([A])
    claims._client.connection_pool.disconnect()
    place.server.config_set("requirepass", "right")
    try:
        claims.release([A])
        claims.close()
    finally:
        place.server.execute_command("AUTH", "right")
        place.server.config_set("requirepass", "")
    assert "claims could not be released" in caplog.text
    other = place.open().claims()
    assert taken_within(other, [A], 30)[0] == {A}
    other.close()


def test_a_server_without_room_refuses(place):
    place.server.config_set("maxmemory", 1)
    try:
        with pytest.raises(RuntimeTaskError, match="XCS614"):
            place.open().put_many({A: answer()})
    finally:
        place.server.config_set("maxmemory", 0)


def test_a_missing_package_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(RuntimeTaskError, match=r"pip install 'xcs-airflow\[redis\]'"):
        RedisCache("redis://host")


@pytest.mark.parametrize("address", ["redis://host:6379/1", "rediss://ann:secret@host", "unix:///run/redis.sock?db=1"])
def test_addresses_open_it(address):
    assert isinstance(open_cache(address), RedisCache)
    assert open_cache(address) is open_cache(address)


def test_an_address_that_is_none_is_said(place):
    with pytest.raises(RuntimeTaskError, match="XCS614"):
        RedisCache("redis://host:port")
