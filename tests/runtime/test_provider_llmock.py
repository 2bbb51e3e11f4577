"""Both protocols, through the whole runtime, against a server nobody here wrote."""

from collections import Counter

import pytest

from xcs_airflow.errors import ModelError
from xcs_airflow.manifest import CacheRule, ModelCall
from xcs_airflow.runtime.calls import answer_many
from xcs_airflow.runtime.settings import ModelRoute, RuntimeSettings
from xcs_airflow.values import Hole, Message, Prompt

from ..real.conftest import llmock, llmock_process  # noqa: F401, TID252  # fixtures

KEY = "sk-very-secret-0123456789"
TEAM = {"enum": ["billing", "bug"], "type": "string"}
PATHS = {"openai": "v1", "anthropic": "anthropic/v1"}


@pytest.fixture(params=PATHS)
def ask(request, llmock, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setenv("TEST_KEY", KEY)
    monkeypatch.setattr("xcs_airflow.runtime.line.backoff_s", lambda attempt: 0.0)
    endpoint = f"{llmock.url}/{PATHS[request.param]}"

    def ask(texts, route=None, **changes):
        fields = {"endpoint": endpoint, "protocol": request.param, "key_env": "TEST_KEY", "timeout_s": 10, **(route or {})}
        settings = RuntimeSettings(store=tmp_path / "store", models={"m": ModelRoute(**fields)})
        prompt = Prompt(messages=(Message(role="system", parts=("Be brief.",)), Message(parts=(Hole(input="text"),))))
        call = ModelCall(**{"model": "m/x", "prompt": prompt, "temperature": 0, "max_tokens": 100, **changes})
        return answer_many(call, [{"text": text} for text in texts], cache=CacheRule(), in_flight=4, settings=settings)

    return ask


def statuses(llmock):  # noqa: F811
    return Counter(request["status"] for request in llmock.requests)


def test_answers_come_as_text(ask, llmock):  # noqa: F811
    texts = [f"ticket-{index}" for index in range(8)]
    assert [answer.split()[-1] for answer in ask(texts)] == texts
    assert statuses(llmock) == {200: 8}


def test_an_answer_that_does_not_fit_is_asked_for_once_more(ask, llmock):  # noqa: F811
    llmock.script({"type": "reply", "text": "neither"}, {"type": "reply", "text": '{"value": "bug"}'})
    assert ask(["a"], output_schema=TEAM) == ["bug"]
    first, second = llmock.requests
    assert [message["role"] for message in second["body"]["messages"]][-3:] == ["user", "assistant", "user"]
    assert "That answer cannot be used" in second["body"]["messages"][-1]["content"]
    assert len(second["body"]["messages"]) == len(first["body"]["messages"]) + 2


def test_an_answer_that_says_nothing_is_not_sent_back(ask, llmock):  # noqa: F811
    """Anthropic takes no messages without text; the second request would be refused."""
    llmock.script({"type": "reply", "text": " \n"}, {"type": "reply", "text": '{"value": "bug"}'})
    assert ask(["a"], output_schema=TEAM) == ["bug"]
    messages = llmock.requests[1]["body"]["messages"]
    assert [message["role"] for message in messages][-2:] == ["user", "user"]
    assert all(message["content"] for message in messages)


def test_an_answer_that_never_fits_is_an_error_after_two(ask, llmock):  # noqa: F811
    llmock.script(*[{"type": "reply", "text": "neither"}] * 2)
    with pytest.raises(ModelError) as caught:
        ask(["a"], output_schema=TEAM)
    assert "does not fit the output type" in str(caught.value)
    assert statuses(llmock) == {200: 2}


@pytest.mark.parametrize("status", [429, 500, 503, 529])
def test_errors_that_pass_are_waited_for(ask, llmock, status):  # noqa: F811
    llmock.script({"type": "fail", "status": status, "times": 2, "retry_after": 0.05})
    assert [answer.split()[-1] for answer in ask(["a", "b"])] == ["a", "b"]
    assert statuses(llmock) == {200: 2, status: 2}


def test_a_refused_key_stops_everything_and_is_not_shown(ask, llmock, caplog):  # noqa: F811
    llmock.script({"type": "fail", "status": 401, "times": None, "message": f"Incorrect API key: {KEY}"})
    with caplog.at_level("DEBUG"), pytest.raises(ModelError) as caught:
        ask([str(index) for index in range(50)])
    assert KEY not in str(caught.value) + caplog.text
    assert len(llmock.requests) <= 4


def test_calls_use_no_more_tokens_than_the_minute_has(ask, llmock):  # noqa: F811
    """Each call uses some 10 tokens by its answer, and was expected to use over 100."""
    texts = [f"ticket {index}" for index in range(4)]
    ask(texts, route={"tokens_per_minute": 60_000, "max_in_flight": 1})
    began = sorted(request["started_at"] for request in llmock.requests)
    assert 0.02 < began[-1] - began[0] < 2
