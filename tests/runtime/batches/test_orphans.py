"""Batches of which nobody knows whether they were submitted: they are looked for, and nothing is paid twice."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from xcs_airflow.errors import ModelError, ModelUnavailableError
from xcs_airflow.runtime.batches import submitting
from xcs_airflow.runtime.batches.documents import CLASSES
from xcs_airflow.runtime.models import anthropic_batches, openai_batches

from .dialects import Anthropic, OpenAI
from .lab import LONG_AGO_S


@pytest.mark.parametrize("fault", ["lost", "torn"])
def test_a_batch_whose_confirmation_is_lost_is_found(lab, fault):
    lab.server.faults["create"] = [fault]
    lab.submit()
    assert "001" not in lab.documents("receipt")
    lab.wait()
    assert lab.collect() == lab.answers
    assert lab.server.billed == lab.once
    assert len(lab.server.batches) == 1


def test_a_batch_is_found_by_its_file_where_metadata_are_not_kept(openai):
    openai.server.keeps_metadata = False
    openai.server.faults["create"] = ["lost"]
    assert openai.run() == openai.answers
    assert openai.server.billed == openai.once


def test_a_batch_is_found_among_many(lab):
    lab.server.page = 2
    lab.server.faults["create"] = ["lost"]
    lab.submit()
    (mine,) = lab.server.batches.values()
    for _ in range(7):
        lab.server.add([{**request, "custom_id": f"x{request['custom_id'][1:]}"} for request in mine.requests], None, "other")
    for batch in lab.server.batches.values():
        batch.state, batch.fates = "ended", {request["custom_id"]: "succeeded" for request in batch.requests}
    lab.server.billed = lab.once
    lab.wait()
    assert lab.collect() == lab.answers
    assert lab.documents("receipt")["001"]["batch_id"] == mine.id


def test_batches_of_others_hold_nobody_up_for_ever(anthropic):
    """Their ids cannot be read while they are at work; but those that came later are none of ours."""
    anthropic.server.faults["create"] = ["unheard"]
    anthropic.submit()
    for created_later_s, state in ((10, "ended"), (9_000, "in_progress")):
        requests = [{"custom_id": f"x-{index}", "params": {"model": "m", "messages": [{"content": "?"}]}} for index in range(6)]
        other = anthropic.server.add(requests, None, None)
        other.created_at += created_later_s
        other.state, other.looks = state, -1000
        other.fates = dict.fromkeys((request["custom_id"] for request in requests), "succeeded") if state == "ended" else {}
    anthropic.later_s = LONG_AGO_S
    anthropic.wait()
    assert anthropic.collect() == anthropic.answers
    assert anthropic.server.billed == anthropic.once


def test_a_batch_the_list_shows_late_is_waited_for(lab):
    lab.server.lag = 3
    lab.server.faults["create"] = ["lost"]
    lab.submit()
    assert lab.wait(step_s=60) > 3
    assert lab.collect() == lab.answers
    assert lab.server.billed == lab.once


@pytest.mark.parametrize("fault", ["unheard", 500, 503])
def test_a_batch_that_never_arrived_is_submitted_again_when_that_is_sure(lab, fault):
    lab.server.faults["create"] = [fault]
    lab.submit()
    assert not lab.poll()
    assert "may be on its way" in lab.reason
    assert lab.server.asked["create"] == 1
    lab.later_s = LONG_AGO_S
    lab.wait()
    assert lab.collect() == lab.answers
    assert lab.server.billed == lab.once


def test_batches_that_get_lost_again_and_again_are_no_longer_sent(lab):
    lab.server.faults["create"] = ["unheard"] * 10
    lab.submit()
    with pytest.raises(ModelError, match="XCS725") as caught:
        lab.wait(step_s=LONG_AGO_S)
    assert not caught.value.retryable
    assert lab.server.asked["create"] == 5
    assert sum(lab.server.billed.values()) == 0


def test_an_orphan_is_a_question_to_a_person_where_the_provider_cannot_be_searched(lab):
    lab.server.faults["create"] = ["lost"]
    lab.server.faults["list"] = [404] * 100
    lab.submit()
    assert not lab.poll()
    lab.later_s = LONG_AGO_S
    with pytest.raises(ModelError, match="XCS722") as caught:
        lab.poll()
    assert not caught.value.retryable
    (intent,) = lab.documents("intent").values()
    assert intent["mark"] in str(caught.value)
    assert lab.server.asked["create"] == 1
    place = str(caught.value).partition("} into ")[2].split()[0]
    (batch,) = lab.server.batches
    Path(lab.settings.store, place).write_text(f'{{"batch_id": "{batch}"}}')
    lab.wait()
    assert lab.collect() == lab.answers
    assert lab.server.billed == lab.once


def test_a_batch_without_results_may_be_ours_and_is_a_question_to_a_person(anthropic):
    """Anthropic names a request nowhere but in its result."""
    anthropic.server.faults["create"] = ["lost"]
    anthropic.server.fate = lambda prompt, before: "missing"
    anthropic.submit()
    (batch,) = anthropic.server.batches.values()
    anthropic.server.finish(batch)
    anthropic.later_s = LONG_AGO_S
    with pytest.raises(ModelError, match="nothing says whose it is") as caught:
        anthropic.wait()
    assert caught.value.code == "XCS722"
    assert anthropic.server.asked["create"] == 1


def test_an_orphan_is_submitted_again_where_that_is_allowed_and_the_books_say_so(lab):
    lab.manifest = lab.lowered(on_orphan="resubmit")
    lab.server.faults["create"] = ["lost"]
    lab.server.faults["list"] = [404] * 100
    lab.submit()
    for batch in lab.server.batches.values():
        lab.server.finish(batch)
    lab.later_s = LONG_AGO_S
    lab.wait()
    assert lab.collect() == lab.answers
    assert set(lab.server.billed.values()) == {2}
    usage = lab.usage()
    assert (usage.calls, usage.possibly_billed) == (6, 6)
    assert [sum(outcome.values()) for outcome in lab.outcomes] == [6, 6]
    assert set(lab.outcomes[0]) == set(CLASSES)


def test_whoever_comes_too_late_creates_nothing(lab, monkeypatch):
    """Setting money aside may take long, and others look for a batch only for so long."""
    monkeypatch.setattr(submitting, "TO_CREATE_S", -1.0)
    with pytest.raises(ModelUnavailableError, match="the time for it is over"):
        lab.submit()
    assert lab.server.asked["create"] == 0
    assert lab.documents("receipt")["001"]["batch_id"] is None


def test_a_batch_created_after_it_was_given_up_is_cancelled_and_the_books_say_so(lab, monkeypatch):
    api = {"openai": openai_batches.OpenAIBatches, "anthropic": anthropic_batches.AnthropicBatches}[lab.provider]
    original, first = api.create, iter([True])

    async def create(*args):
        made = await original(*args)
        if next(first, False):  # stopped for hours, and the provider hides what it has just created
            lab.later_s, lab.server.lag = LONG_AGO_S, 1000
            with ThreadPoolExecutor(1) as other:
                assert not other.submit(lab.poll).result()
        return made

    monkeypatch.setattr(api, "create", create)
    lab.submit()
    assert lab.server.asked["cancel"] == 1
    assert [batch.is_cancelled for batch in lab.server.batches.values()] == [True, False]
    lab.wait()
    assert lab.collect() == lab.answers
    assert lab.server.billed == lab.once
    usage = lab.usage()
    assert (usage.calls, usage.possibly_billed) == (6, 6)
    assert lab.poll()


@pytest.mark.parametrize("status", [201, 202])
def test_a_batch_is_created_whatever_good_status_says_so(lab, monkeypatch, status):
    for api in (OpenAI, Anthropic):
        monkeypatch.setattr(api, "create", lambda *args, original=api.create: (status, original(*args)[1]))
    assert lab.run() == lab.answers
    assert lab.server.billed == lab.once
