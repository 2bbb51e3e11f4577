"""What the network does: calls that break, and when they are made again."""

from pathlib import Path

import pytest

from xcs_airflow.errors import ModelError, ModelUnavailableError


@pytest.mark.parametrize("fault", [429, 500, 503, "torn", "unheard"])
@pytest.mark.parametrize("endpoint", ["status", "results"])
def test_what_may_be_asked_twice_is(lab, endpoint, fault):
    lab.server.faults[endpoint] = [fault, fault]
    assert lab.run() == lab.answers
    assert lab.server.billed == lab.once


@pytest.mark.parametrize("fault", [429, 500, 503, "torn", "lost"])
def test_a_file_may_be_uploaded_twice(openai, fault):
    openai.server.faults["upload"] = [fault, fault]
    assert openai.run() == openai.answers
    assert openai.server.billed == openai.once


@pytest.mark.parametrize("times", [1, 2])
def test_a_download_that_ends_too_early_without_saying_so_is_done_again(lab, times):
    """Also when it ends at the same place twice: fetching is free, asking again is not."""
    lab.server.faults["results"] = ["short"] * times
    assert lab.run() == lab.answers
    assert lab.server.billed == lab.once
    assert lab.outcomes[0]["succeeded"] == 6


@pytest.mark.parametrize("fault", [429, 500, "unheard"])
@pytest.mark.parametrize("endpoint", ["status", "results"])
def test_a_provider_that_is_down_is_asked_later(lab, endpoint, fault):
    lab.submit()
    lab.server.faults[endpoint] = [fault] * (5 if isinstance(fault, int) else 10)  # a broken connection is tried twice
    with pytest.raises(ModelUnavailableError, match="XCS724"):
        lab.wait()
    assert not list(Path(lab.settings.store, ".partial").iterdir())
    lab.wait()
    assert lab.collect() == lab.answers
    assert lab.server.billed == lab.once


def test_a_batch_that_is_turned_away_is_not_submitted_and_costs_nothing(lab):
    lab.server.faults["create"] = [429] * 5
    with pytest.raises(ModelUnavailableError, match="XCS724"):
        lab.submit()
    assert lab.documents("receipt")["001"]["batch_id"] is None
    assert lab.usage().possibly_billed == 0
    assert lab.run() == lab.answers
    assert lab.server.billed == lab.once


def test_a_batch_that_is_refused_says_why(lab):
    lab.server.faults["create"] = [400]
    with pytest.raises(ModelError, match="told to answer 400") as caught:
        lab.submit()
    assert caught.value.code == "XCS723"
    assert not caught.value.retryable
