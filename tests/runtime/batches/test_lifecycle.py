"""Submit, poll and collect, each of which may be started again at any moment; what goes into a batch, and into which."""

import time
from collections import Counter
from types import SimpleNamespace

import pytest

from xcs_airflow.errors import RuntimeTaskError
from xcs_airflow.ir import CachePolicy
from xcs_airflow.runtime.batches import taking
from xcs_airflow.runtime.measuring import measured_operations
from xcs_airflow.runtime.pricing import price_of
from xcs_airflow.runtime.runs import Run
from xcs_airflow.runtime.store import open_store


def test_answers_come_back_in_order_whatever_order_the_results_have(lab):
    assert lab.run() == lab.answers
    assert lab.server.billed == lab.once
    assert lab.outcomes == [{"succeeded": 6, "rejected": 0, "errored": 0, "expired": 0, "cancelled": 0, "missing": 0}]
    usage = lab.usage()
    assert (usage.rows, usage.calls, usage.possibly_billed) == (6, 6, 0)
    assert (usage.input_tokens, usage.output_tokens) == (60, 12)
    assert usage.billed_cost_usd == usage.saved_by_batch_usd == usage.list_cost_usd / 2 > 0


def test_how_long_a_batch_took_is_written_down(lab, monkeypatch):
    began = time.time()
    lab.submit()
    monkeypatch.setattr(taking, "time", SimpleNamespace(time=lambda: time.time() + 1800))
    lab.wait()
    lab.collect()
    settings = lab.settings
    measured, _ = measured_operations(open_store(settings.store), price_of(settings.prices), Run.named("p", "run"))
    assert 1_800_000 <= measured["ask"].batch_ms <= 1_800_000 + (time.time() - began) * 1000
    assert not measured["ask"].call_ms.count


def test_every_task_may_be_started_again(lab):
    lab.server.looks = 3
    for _ in range(3):
        lab.submit()
    assert not lab.poll()
    lab.submit()
    assert not lab.poll()
    lab.wait()
    assert lab.poll()
    lab.submit()
    assert lab.collect() == lab.collect() == lab.answers
    assert lab.server.billed == lab.once
    assert lab.server.asked["create"] == 1


def test_another_run_submits_nothing_because_the_cache_has_it_all(lab):
    lab.run()
    before = lab.server.asked.copy()
    lab.submit(run_id="other")
    assert lab.poll(run_id="other")
    assert lab.collect(run_id="other") == lab.answers
    assert lab.server.asked == before
    usage = lab.usage("other")
    assert (usage.rows, usage.hits, usage.calls) == (6, 6, 0)


def test_answers_that_other_runs_may_not_take_are_taken_in_all_the_same(lab):
    lab.manifest = lab.lowered(cache=None)
    assert lab.run() == lab.answers
    lab.submit(run_id="other")
    lab.wait(run_id="other")
    assert lab.collect("other") == lab.answers
    assert set(lab.server.billed.values()) == {2}


@pytest.mark.parametrize("cache", [CachePolicy(), None])
def test_code_that_is_edited_while_a_batch_is_on_its_way_hands_nothing_over_twice(lab, cache):
    lab.server.looks = 3
    lab.manifest = lab.lowered(cache=cache, code="before")
    lab.submit()
    assert not lab.poll()
    lab.manifest = lab.lowered(cache=cache, code="after")
    lab.submit()
    lab.wait()
    assert lab.collect() == lab.answers
    assert lab.server.billed == lab.once
    assert lab.server.asked["create"] == 1


def test_what_does_not_fit_in_one_batch_goes_in_several(lab):
    lab.manifest = lab.lowered(max_requests=4)
    lab.submit()
    assert sorted(len(document["keys"]) for document in lab.documents("intent").values()) == [2, 4]
    lab.wait()
    assert lab.collect() == lab.answers
    assert lab.server.billed == lab.once


def test_files_are_no_larger_than_the_provider_takes(lab):
    lab.manifest = lab.lowered(max_bytes=700)
    assert lab.run() == lab.answers
    sizes = [document["bytes"] for document in lab.documents("intent").values()]
    assert len(sizes) > 1
    assert max(sizes) <= 700
    assert lab.server.billed == lab.once


def test_a_request_that_is_larger_than_a_batch_may_be_is_refused(lab):
    lab.manifest = lab.lowered(max_bytes=100)
    with pytest.raises(RuntimeTaskError, match="XCS726"):
        lab.submit()
    assert lab.server.asked["create"] == 0


def test_equal_questions_of_a_batch_are_one_request(lab, monkeypatch):
    code = lab.settings.code / "pipeline.py"
    code.write_text(code.read_text().replace("{index}", "{index % 2}"))
    assert lab.run() == [prompt.upper() for prompt in lab.prompts[:2]] * 3
    assert lab.server.billed == Counter(lab.prompts[:2])
    usage = lab.usage()
    assert (usage.rows, usage.calls, usage.duplicates) == (6, 2, 4)


def test_shards_submit_and_collect_apart(lab):
    lab.manifest = lab.lowered(shards=2)
    for shard in range(2):
        lab.submit(shard=shard)
    lab.wait()  # one poll asks for all of them
    assert lab.collect() == lab.answers
    assert lab.server.billed == lab.once
    assert lab.server.asked["create"] == 2


def test_ids_of_requests_are_the_same_whenever_their_file_is_written(lab):
    """A batch's mark and a request's key make its id, so results can be told apart however often they are read."""
    lab.submit()
    (intent,) = lab.documents("intent").values()
    (batch,) = lab.server.batches.values()
    assert [request["custom_id"] for request in batch.requests] == [f"{intent['mark']}-{key[:40]}" for key in intent["keys"]]
