"""Fake models."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import pytest

from xcs_airflow import llm
from xcs_airflow.errors import ModelError
from xcs_airflow.testing import fake_models

ask = llm("openai/gpt-4.1-mini", "Ask {x}")
other = llm("anthropic/claude-haiku-4-5", "Other {x}", system="Be brief.")
classify = llm("openai/gpt-4.1-mini", "Which? {x}", output=Literal["a", "b"])
listed = llm("openai/gpt-4.1-mini", "List {x}", output=list[int])


def test_one_reply_answers_everything():
    with fake_models("ok") as calls:
        assert (ask("1"), other("2")) == ("ok", "ok")
    assert (calls.count, calls.prompts) == (2, ["Ask 1", "Be brief.\n\nOther 2"])
    assert calls.models == ["openai/gpt-4.1-mini", "anthropic/claude-haiku-4-5"]
    assert (2, calls[0]) == (len(calls), next(iter(calls)))


def test_a_dict_answers_by_model_or_by_part_of_the_prompt():
    with fake_models({"anthropic/claude-haiku-4-5": "claude", "Ask 1": "one", "Ask": "more"}):
        assert (other("x"), ask("1"), ask("2")) == ("claude", "one", "more")


def test_a_list_answers_in_order():
    with fake_models(["first", "second"]):
        assert (ask("1"), ask("2")) == ("first", "second")
        with pytest.raises(ModelError, match="no reply for the prompt 'Ask 3'"):
            ask("3")


def test_a_function_answers_from_the_prompt():
    with fake_models(lambda prompt: prompt[::-1]):
        assert ask("1") == "1 ksA"


def test_replies_may_be_values_of_the_output_type():
    with fake_models({"Which": "b", "List": [1, 2]}):
        assert (classify("x"), listed("x")) == ("b", [1, 2])


def test_a_reply_may_be_what_a_careless_model_would_write():
    with fake_models("not a list"), pytest.raises(ModelError):
        listed("x")


def test_a_reply_may_be_an_exception():
    from xcs_airflow.runtime.models import AttemptError  # noqa: PLC0415

    with fake_models(AttemptError("no such model", blame="route")), pytest.raises(ModelError, match="no such model"):
        ask("x")


def test_a_prompt_without_a_reply_is_an_error_and_not_a_call_elsewhere():
    with fake_models({"Which": "a"}), pytest.raises(ModelError, match="the test has no reply"):
        ask("x")


def test_nothing_is_remembered_unless_asked():
    question = llm("openai/gpt-4.1-mini", "{x}", temperature=0)
    with fake_models("ok") as calls:
        question("1")
        question("1")
    assert calls.count == 2

    for _ in range(2):
        with fake_models("ok", cache=True) as calls:
            question("1")
            question("1")
        assert calls.count == 1


def test_calls_from_threads_are_recorded():
    with fake_models("ok") as calls, ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, "abcdefgh")) == ["ok"] * 8
    assert [f"Ask {letter}" for letter in "abcdefgh"] == sorted(calls.prompts)


def test_afterwards_everything_is_as_before(monkeypatch):
    monkeypatch.setenv("XCS_CACHE", "memory")
    with fake_models("ok"):
        assert os.environ["XCS_CACHE"] == "off"
    assert os.environ["XCS_CACHE"] == "memory"

    monkeypatch.delenv("XCS_CACHE")
    with pytest.raises(ZeroDivisionError), fake_models("ok"):
        raise ZeroDivisionError
    assert "XCS_CACHE" not in os.environ
