"""What the provider does to requests: six classes, and only what may yet be answered is submitted again."""

from collections import Counter

import pytest

from xcs_airflow.errors import ModelError

from .fates import BILLED
from .lab import A_DAY_S


@pytest.mark.parametrize(
    ("fate", "name", "is_tried_again"),
    [
        ("errored", "errored", False),
        ("busy", "errored", True),
        ("expired", "expired", True),
        ("cancelled", "cancelled", False),
        ("missing", "missing", True),
        ("refused", "rejected", False),
    ],
)
def test_only_what_has_no_answer_is_submitted_again(lab, fate, name, is_tried_again):
    lab.server.fate = lambda prompt, before: fate if prompt.endswith(("1", "4")) and not before else "succeeded"
    lab.submit()
    lab.wait()
    first = lab.outcomes[0]
    assert (first["succeeded"], first[name], sum(first.values())) == (4, 2, 6)
    if is_tried_again:
        assert lab.collect() == lab.answers
        assert len(lab.server.batches) == 2
        assert lab.server.seen == lab.once + Counter(["about ticket 1", "about ticket 4"])
    else:
        with pytest.raises(ModelError, match=name):
            lab.collect()
        assert len(lab.server.batches) == 1
        lab.submit()  # somebody wants the rest
        lab.wait()
        assert lab.collect() == lab.answers
    assert lab.server.billed == lab.once + Counter(dict.fromkeys(("about ticket 1", "about ticket 4"), fate in BILLED))


def test_a_request_is_submitted_no_more_often_than_the_terms_say(lab):
    lab.manifest = lab.lowered(rounds=3)
    lab.server.fate = lambda prompt, before: "expired" if prompt.endswith("1") else "succeeded"
    lab.submit()
    lab.wait()
    assert lab.server.seen["about ticket 1"] == 3
    with pytest.raises(ModelError, match="expired"):
        lab.collect()
    assert lab.server.billed == lab.once - Counter(["about ticket 1"])


def test_two_results_for_one_request_are_one(lab, caplog):
    lab.server.fate = lambda prompt, before: "twice"
    assert lab.run() == lab.answers
    assert "there are two results for" in caplog.text
    assert lab.outcomes[0]["succeeded"] == 6
    assert lab.usage().calls == 6


def test_results_nobody_asked_for_are_left_out(lab, caplog):
    lab.submit()
    (batch,) = lab.server.batches.values()
    batch.requests.append({**batch.requests[0], "custom_id": "somebody-elses"})
    lab.wait()
    assert "nobody asked for" in caplog.text
    assert lab.collect() == lab.answers


def test_an_answer_that_does_not_fit_is_asked_again_with_the_reason(lab):
    lab.manifest = lab.lowered(schema={"type": "integer"})
    lab.server.answer = lambda prompt: prompt[-1]
    lab.server.fate = lambda prompt, before: "unfit" if prompt.endswith("2") and not before else "succeeded"
    lab.submit()
    lab.wait()
    assert lab.collect() == [0, 1, 2, 3, 4, 5]
    again = list(lab.server.batches.values())[1].requests
    assert len(again) == 1
    assert "That answer cannot be used" in str(again[0])
    usage = lab.usage()
    assert (usage.calls, usage.discarded) == (6, 1)


def test_a_batch_that_expires_brings_what_was_done(lab):
    lab.server.fate = lambda prompt, before: "expired" if prompt >= "about ticket 3" and not before else "succeeded"
    lab.submit()
    lab.wait()
    assert [(outcome["succeeded"], outcome["expired"]) for outcome in lab.outcomes] == [(3, 3), (3, 0)]
    assert lab.collect() == lab.answers
    assert lab.server.billed == lab.once


def test_a_batch_whose_time_is_over_is_cancelled_and_what_was_done_is_taken_in(lab):
    lab.server.looks = 1000
    lab.server.fate = lambda prompt, before: "cancelled" if prompt >= "about ticket 4" and not before else "succeeded"
    lab.submit()
    assert not lab.poll()
    assert lab.server.asked["cancel"] == 0
    lab.later_s = A_DAY_S
    assert not lab.poll()
    assert lab.server.asked["cancel"] == 1
    lab.server.looks = 1
    lab.wait()
    assert lab.outcomes[0] == {"succeeded": 4, "rejected": 0, "errored": 0, "expired": 2, "cancelled": 0, "missing": 0}
    assert lab.collect() == lab.answers
    assert lab.server.billed == lab.once


def test_a_batch_that_ends_while_it_is_being_cancelled_is_taken_in(lab):
    lab.server.looks = 1000
    lab.submit()
    lab.later_s = A_DAY_S
    lab.server.faults["cancel"] = [400]
    assert not lab.poll()
    lab.server.looks = 1
    lab.wait()
    assert lab.collect() == lab.answers
    assert lab.server.billed == lab.once


def test_a_batch_somebody_cancelled_is_not_submitted_again(lab):
    lab.server.fate = lambda prompt, before: "cancelled" if not before else "succeeded"
    lab.submit()
    next(iter(lab.server.batches.values())).is_cancelled = True
    lab.wait()
    with pytest.raises(ModelError, match="cancelled"):
        lab.collect()
    assert len(lab.server.batches) == 1


def test_a_batch_that_is_refused_as_a_whole_costs_nothing(openai):
    openai.server.failing = [{"code": "invalid_json_line", "message": "line 1 is no request", "line": 1}]
    openai.submit()
    openai.wait()
    assert openai.outcomes[0]["errored"] == 6
    with pytest.raises(ModelError, match="line 1 is no request"):
        openai.collect()
    assert openai.usage().refused == 6


def test_a_batch_the_provider_has_no_room_for_waits_and_does_not_count(openai):
    full = {"code": "token_limit_exceeded", "message": "Enqueued token limit reached for gpt-4.1-mini"}
    openai.server.failing = [full] * 3
    openai.submit()
    assert not openai.poll()
    assert "no room" in openai.reason
    assert not openai.poll()
    assert len(openai.server.batches) == 1
    assert openai.wait(step_s=601) > 3
    assert openai.collect() == openai.answers
    assert openai.server.billed == openai.once
