"""What else happens to tasks: a twin at work on the same shard, a full disk, a torn ledger, clocks that jump, a model that fails."""

import os
import random
import shutil
import subprocess
from contextlib import contextmanager

import pytest

from xcs_airflow.runtime.books import Books, total

from .crashing import shop
from .mortal_worker import DONE, FAILED, KILLED

pytestmark = pytest.mark.real

DAY_S = 24 * 3600


def no_price(*_, **__):
    return None


@pytest.fixture
def undisturbed(run_of):
    """The results of a run that nothing happens to."""

    def results(graph):
        run = run_of(graph)
        assert run.go_on() == [DONE]
        run.check(run.results())
        return run.results()

    return results


@pytest.mark.parametrize("in_flight", [1, 8])
@pytest.mark.parametrize("is_remembered", [True, False])
def test_two_workers_on_one_shard_pay_each_prompt_once(run_of, undisturbed, counting, in_flight, is_remembered):
    graph = shop(in_flight, is_remembered=is_remembered)
    results = undisturbed(graph)
    for _ in range(3):
        run = run_of(graph, in_flight)
        counting.reset(pause_s=0.01)
        assert run.go_on({}, {}) == [DONE, DONE]
        run.check(results)
        assert set(counting.counts().received.values()) == {1}


def test_the_twin_of_a_killed_worker_takes_over(run_of, undisturbed, counting, record_property):
    graph = shop(4)
    results = undisturbed(graph)
    chance = random.Random(4)
    kills = 0
    for _ in range(8):
        run = run_of(graph, 4)
        counting.reset(pause_s=0.01)
        statuses = run.go_on({}, {"delay_s": chance.uniform(0.03, 0.15)}, {})
        assert [statuses[0], statuses[2]] == [DONE, DONE]
        run.check(results)
        kills += run.kills
    assert kills > 0
    record_property("kills", kills)


def test_a_limit_on_files_stops_a_task_and_damages_nothing(run_of, undisturbed):
    """Every write of a worker that goes beyond the limit fails, whichever it is."""
    graph = shop(4)
    results = undisturbed(graph)
    stopped = 0
    for kib in (0, 1, 2, 3, 4, 8, 16, 32, 48, 64, 96, 128):
        run = run_of(graph, 4)
        for _ in range(2):
            run.go_on({"file_bytes": kib * 1024})
        assert run.go_on() == [DONE], f"with {kib} KiB\n{run.log()}"
        run.check_what_always_holds(results)
        stopped += run.failures
    assert stopped >= 12


@contextmanager
def small_disk(folder, kib):
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", folder], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a disk")
def test_a_full_disk_stops_a_task_with_a_clear_error_and_the_next_one_goes_on(run_of, undisturbed, workers, fast_folder):
    graph = shop(4)
    results = undisturbed(graph)
    stopped = 0
    for kib in (4, 16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 256):
        disk = fast_folder / f"disk-{kib}"
        with small_disk(disk, 1024):
            run = run_of(graph, 4, disk)
            filler = disk / "filler"
            filler.write_bytes(b"x" * (shutil.disk_usage(disk).free - kib * 1024))
            before = len(workers.log.read_text())
            if run.go_on() == [FAILED]:
                stopped += 1
                said = workers.log.read_text()[before:]
                assert "No space left on device" in said or "database or disk is full" in said
            filler.unlink()
            assert run.go_on() == [DONE]
            run.check_what_always_holds(results)
    assert stopped >= 6


@pytest.mark.parametrize("junk", [b"", b"\0" * 50, b"\xff\x00{"], ids=["cut", "zeros", "junk"])
def test_a_ledger_torn_at_any_byte_never_makes_a_call_free(run_of, junk):
    """Whatever a loss of power leaves in place of the end: what cannot be read is a call in doubt, never one less."""
    run = run_of(shop(4))
    run.go_on({"point": "after settlements are flushed", "nth": 5})
    (name,) = run.store.list("runs/shop/r/ledger/sort")
    content = run.store.get(name)
    whole = total(Books.read(content.split(b"\n")).usage(no_price))
    assert whole.calls + whole.possibly_billed > 4
    for cut in range(len(content)):
        torn = total(Books.read((content[:cut] + junk).split(b"\n")).usage(no_price))
        announced = sum(b'"intent"' in line for line in content[:cut].split(b"\n")[:-1])
        assert 0 <= torn.calls <= whole.calls
        assert torn.possibly_billed >= 0
        assert announced <= torn.calls + torn.possibly_billed <= whole.calls + whole.possibly_billed


def test_clocks_that_jump_change_nothing(run_of, undisturbed, record_property):
    """Workers of one run disagree by days about the time, and are killed besides."""
    graph = shop(4)
    results = undisturbed(graph)
    chance = random.Random(5)
    kills = 0
    for _ in range(4):
        run = run_of(graph, 4)
        while run.kills < 4 and KILLED in run.go_on(
            *({"clock_s": DAY_S * chance.choice((-400, -3, 0, 3, 400)), "delay_s": chance.uniform(0.03, 0.12)} for _ in range(2))
        ):
            pass
        assert run.go_on({"clock_s": -DAY_S * chance.randrange(400)}) == [DONE]
        run.check(results)
        kills += run.kills
    record_property("kills", kills)
