"""Claims between machines that share a store alone: whoever lives keeps them, whoever dies loses them after a while."""

import json
import os
import signal
import threading
import time

import pytest

from xcs_airflow.runtime.cache.object_claims import Patience

from .claimants import claimants, taken_within
from .places import ObjectPlace, key

QUICK = Patience(renew_s=0.1, watched_s=1, old_s=1000, look_s=0.05, longest_look_s=0.2)
A, B = key(1), key(2)

CLAIMANT = """
import sys
from xcs_airflow.runtime.cache.object import ObjectCache
from xcs_airflow.runtime.cache.object_claims import Patience
from xcs_airflow.runtime.store import open_store
patience = Patience(renew_s=0.1, watched_s=1, old_s=1000, look_s=0.05, longest_look_s=0.2)
claims = ObjectCache(open_store(sys.argv[1]), patience=patience).claims()
"""


@pytest.fixture
def place(tmp_path):
    made = ObjectPlace(tmp_path)
    made.patience = QUICK
    yield made
    made.close()


@pytest.fixture
def claimant(place):
    with claimants(CLAIMANT, place.address) as start:
        yield start


@pytest.fixture
def claims(place):
    """Opens claims that are closed at the end."""
    opened = []

    def start(**options):
        opened.append(place.open(**options).claims())
        return opened[-1]

    yield start
    for each in opened:
        each.close()


def names(place, folder):
    return list(place.store.list(f"%/{folder}"))


def test_whoever_lives_keeps_its_claims(claimant, claims):
    claimant(A)
    assert taken_within(claims(), [A], 2.5)[0] == set()


def test_whoever_was_killed_loses_them_after_a_while(place, claimant, claims):
    keys = {key(index) for index in range(20)}
    other = claimant(*keys)
    watcher = claims()
    assert watcher.take(keys) == set()
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert watcher.take(keys) == set()
    taken, after_s = taken_within(watcher, keys, 30)
    assert taken == keys
    assert after_s > 0.5
    assert len(names(place, "owners")) == 1


def test_what_a_dead_process_claimed_goes_to_one_of_many(claimant, claims):
    keys = {key(index) for index in range(20)}
    other = claimant(*keys)
    other.kill()
    other.wait()
    watchers = [claims() for _ in range(4)]
    taken = [set() for _ in watchers]

    def wait(number):
        ends = time.monotonic() + 3
        while time.monotonic() < ends:
            taken[number] |= watchers[number].take(keys)
            time.sleep(0.02)

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(map(len, taken)) == 20
    assert set().union(*taken) == keys


def test_who_died_long_ago_is_not_waited_for(place, claims):
    owner = "0" * 32
    place.store.create(f"%/claims/{A[0]}/{A}", owner.encode())
    place.store.put(f"%/owners/{owner}.json", json.dumps([7, int(time.time()) - 2000]).encode())
    assert claims().take([A]) == {A}
    assert f"%/owners/{owner}.json" not in names(place, "owners")


@pytest.mark.parametrize("claim", [b"", b"../../x", b"\xff", b"0" * 32])
def test_a_claim_of_nobody_counts_for_nothing(place, claims, claim):
    place.store.create(f"%/claims/{A[0]}/{A}", claim)
    assert claims().take([A]) == {A}


@pytest.mark.parametrize("beat", [b"", b"[1]", b'[1, "x"]', b"\xff", b"[" * 5000])
def test_an_owner_whose_object_says_nothing_is_watched(place, claims, beat):
    owner = "0" * 32
    place.store.create(f"%/claims/{A[0]}/{A}", owner.encode())
    place.store.put(f"%/owners/{owner}.json", beat)
    watcher = claims()
    assert watcher.take([A]) == set()
    assert taken_within(watcher, [A], 30)[0] == {A}


def test_who_stalls_loses_its_claims_and_leaves_those_of_others_alone(place, claimant, claims):
    other = claimant(A, B)
    watcher = claims()
    watcher.take([A])
    other.send_signal(signal.SIGSTOP)
    assert taken_within(watcher, [A], 30)[0] == {A}
    other.send_signal(signal.SIGCONT)
    other.stdin.write("release\n")
    other.stdin.flush()
    assert other.stdout.readline() == "released\n"
    assert [name.rpartition("/")[2] for name in names(place, "claims")] == [A]
    assert claims().take([A, B]) == {B}


def test_nothing_is_left_of_who_ends_well(place, claims):
    ours = claims()
    ours.take([A, B])
    ours.release([A])
    ours.close()
    assert names(place, "claims") == names(place, "owners") == []


def test_a_store_that_fails_at_the_end_costs_nothing_but_patience(place, claims, caplog, monkeypatch):
    ours = claims()
    ours.take([A])

    def refuse(_):
        raise PermissionError("no deleting here")

    monkeypatch.setattr(ours._place._store, "delete", refuse)
    ours.release([A])
    assert ours.take([A]) == {A}
    ours.close()
    assert "claims could not be released" in caplog.text
    monkeypatch.undo()
    assert taken_within(claims(), [A], 30)[0] == {A}


def test_claims_can_be_taken_again_after_they_were_closed(claims):
    ours = claims()
    ours.take([A])
    ours.close()
    assert ours.take([A]) == {A}
    assert claims().take([A]) == set()


def test_a_forked_child_neither_holds_nor_loses_the_claims_of_its_parent(place, claims):
    ours = claims()
    ours.take([A])
    child = os.fork()
    if child == 0:
        ours.release([A])
        ours.close()
        os._exit(0 if ours.take([B]) == {B} else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    other = claims()
    assert other.take([A]) == set()
    assert taken_within(other, [B], 30)[0] == {B}


def test_a_claim_of_who_lives_is_looked_at_less_and_less(place, claims):
    """Looking at a thousand claims of others once a second would cost more than some of the calls."""
    place.patience = Patience()
    first = claims()
    first.take([A])
    second = place.open().claims()
    looks = []
    create = second._place._store.create
    second._place._store.create = lambda name, data: looks.append(name) or create(name, data)
    for _ in range(100):
        assert second.take([A]) == set()
    assert len(looks) == 1
    second.close()
