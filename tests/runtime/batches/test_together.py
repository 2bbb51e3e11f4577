"""Several processes at the same work at the same moment: one goes on, the others find what it did."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from xcs_airflow.errors import NotReadyError
from xcs_airflow.runtime.batches import documents


@pytest.fixture
def meeting(monkeypatch):
    """Gives a function that lets the first so many who do something wait for each other before they do it."""

    def meet(place, name, threads):
        barrier, arrivals = threading.Barrier(threads), count()
        original = getattr(place, name)

        def wait_for_all(*args, **kwargs):
            if next(arrivals) < threads:
                barrier.wait(20)
            return original(*args, **kwargs)

        monkeypatch.setattr(place, name, wait_for_all)

    return meet


def side_by_side(*works):
    with ThreadPoolExecutor(len(works)) as pool:
        done = [pool.submit(work) for work in works]
        return [future.exception() for future in done]


def test_several_that_submit_the_same_submit_it_once(lab, meeting):
    lab.task("load")
    lab.manifest = lab.lowered(max_requests=4)
    meeting(documents.Dossier, "begin", 3)
    assert side_by_side(*[lab.submit] * 3) == [None] * 3
    lab.wait()
    assert lab.collect() == lab.answers
    assert lab.server.billed == lab.once


def test_several_that_take_in_the_same_count_it_once(lab, meeting):
    lab.server.fate = lambda prompt, before: "expired" if prompt.endswith("1") and not before else "succeeded"
    lab.submit()
    meeting(documents.Dossier, "end", 3)
    errors = side_by_side(*[lambda: lab.task("ask.poll")] * 3)
    assert {type(error) for error in errors} == {NotReadyError}
    lab.wait()
    assert lab.collect() == lab.answers
    assert lab.server.billed == lab.once
    assert len(lab.server.batches) == 2
    usage = lab.usage()
    assert (usage.calls, usage.possibly_billed) == (6, 0)


def test_one_that_starts_over_and_one_that_goes_on_submit_the_rest_once(lab, meeting):
    """Both find that everything has ended and something has no answer, and each wants to submit it in a series of its own."""
    lab.server.fate = lambda prompt, before: "expired" if prompt.endswith("1") and not before else "succeeded"
    lab.submit()
    for batch in lab.server.batches.values():
        lab.server.finish(batch)
    ended = threading.Event()
    original = documents.Dossier.end

    def end(dossier, batch, outcome):
        original(dossier, batch, outcome)
        ended.set()

    documents.Dossier.end = end
    try:
        meeting(documents.Dossier, "begin", 2)

        def start_over():
            assert ended.wait(20)
            lab.submit()

        errors = side_by_side(lambda: lab.task("ask.poll"), start_over)
    finally:
        documents.Dossier.end = original
    assert [type(error) for error in errors] == [NotReadyError, type(None)]
    lab.wait()
    assert lab.collect() == lab.answers
    assert lab.server.seen == lab.once + Counter(["about ticket 1"])
