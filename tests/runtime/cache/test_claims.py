"""Claims between processes of one machine: whoever dies asks for nothing any more, however it died."""

import os
import signal
import threading
import time

import pytest

from xcs_airflow.runtime.store import StoreUnavailableError

from .claimants import claimants
from .places import key

CLAIMANT = """
import sys, time
from pathlib import Path
from xcs_airflow.runtime.cache.sqlite import SqliteCache
claims = SqliteCache(Path(sys.argv[1])).claims()
"""


@pytest.fixture
def claimant(sqlite_place):
    with claimants(CLAIMANT, sqlite_place.path) as start:
        yield start


def test_a_claimant_that_is_killed_asks_for_nothing_any_more(sqlite_place, claimant):
    keys = [key(index) for index in range(50)]
    other = claimant(*keys)
    claims = sqlite_place.open().claims()
    assert claims.take(keys) == set()
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert claims.take(keys) == set(keys)
    claims.close()


def test_what_a_dead_process_claimed_goes_to_one_of_many(sqlite_place, claimant):
    keys = {key(index) for index in range(200)}
    other = claimant(*keys)
    all_claims = [sqlite_place.open().claims() for _ in range(4)]
    other.kill()
    other.wait()
    taken = []
    threads = [threading.Thread(target=lambda claims=claims: taken.append(claims.take(keys))) for claims in all_claims]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(len, taken)) == [0, 0, 0, 200]
    for claims in all_claims:
        claims.close()


def test_a_file_that_fails_at_the_end_costs_nothing_but_patience(sqlite_place, caplog, monkeypatch):
    claims = sqlite_place.open().claims()
    claims.take([key(1)])

    def fail(_):
        raise StoreUnavailableError.because("XCS614", reason="disk full")

    monkeypatch.setattr(claims, "_run", fail)
    claims.release([key(1)])
    assert sqlite_place.open().claims().take([key(1)]) == set()
    claims.close()
    assert "claims could not be released" in caplog.text
    assert sqlite_place.open().claims().take([key(1)]) == {key(1)}


def test_nothing_is_left_of_dead_claimants(sqlite_place, claimant):
    for number in range(3):
        process = claimant(key(number))
        process.kill()
        process.wait()
    claims = sqlite_place.open().claims()
    claims.take([key(number) for number in range(3)])
    assert len(list(sqlite_place.path.parent.rglob("owner-*"))) == 1
    claims.close()
    assert list(sqlite_place.path.parent.rglob("owner-*")) == []


def test_a_clock_that_jumps_changes_nothing(sqlite_place, claimant, monkeypatch):
    claimant(key(1))
    began = time.time()
    for jumped in (began - 10**6, began + 10**6):
        monkeypatch.setattr(time, "time", lambda jumped=jumped: jumped)
        claims = sqlite_place.open().claims()
        assert claims.take([key(1), key(2)]) == {key(2)}
        claims.close()


def test_a_forked_child_neither_holds_nor_loses_the_claims_of_its_parent(sqlite_place, claimant):
    claims = sqlite_place.open().claims()
    claims.take([key(1)])
    lock = claims._owner
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, b"free" if lock._descriptor == -1 else b"held")
        time.sleep(60)
        os._exit(0)
    try:
        assert os.read(reading, 4) == b"free"
        other = sqlite_place.open().claims()
        assert other.take([key(1)]) == set()
        lock.release()  # as the kernel does when the parent dies, while its child lives
        assert other.take([key(1)]) == {key(1)}
        other.close()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reading)
        os.close(writing)
        claims.close()


def test_thousands_of_keys_are_claimed_in_a_moment(sqlite_place):
    keys = [key(index) for index in range(20_000)]
    claims = sqlite_place.open().claims()
    began = time.perf_counter()
    assert len(claims.take(keys)) == 20_000
    claims.release(keys)
    assert time.perf_counter() - began < 5
    claims.close()
