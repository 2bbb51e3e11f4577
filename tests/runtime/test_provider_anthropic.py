"""Anthropic's protocol, against a server of our own that answers as it is told."""

import json
import logging

import pytest

from xcs_airflow.runtime.models import ModelRequest, anthropic
from xcs_airflow.runtime.models.provider import Prefix
from xcs_airflow.runtime.models.routes import Target
from xcs_airflow.runtime.settings import ModelRoute

from .models_server import KEY, MESSAGES, Client, failure, server  # noqa: F401  # server is a fixture

TARGET = Target("m/x", "m/x", "m", "x", "http://host/v1", ModelRoute())


def message(*texts, **changes):
    usage = {"input_tokens": 12, "output_tokens": 3, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 5}
    content = [{"type": "text", "text": text} for text in texts or ("bug",)]
    return {"type": "message", "model": "claude-2026", "content": content, "stop_reason": "end_turn", "usage": usage, **changes}


def error(kind, text, **facts):
    return {"type": "error", "error": {"type": kind, "message": text, **facts}}


@pytest.fixture
def complete(server, monkeypatch):  # noqa: F811
    """Sends one request, with a key."""
    monkeypatch.setenv("TEST_KEY", KEY)
    return Client(server, "anthropic", message)


def test_a_request_says_what_was_asked_for_and_nothing_else(complete, server):  # noqa: F811
    answer = complete(temperature=0, max_tokens=8)
    path, headers, body = server.requests[0]
    assert path == "/v1/messages"
    assert (headers["x-api-key"], headers["anthropic-version"]) == (KEY, "2023-06-01")
    assert "Authorization" not in headers
    assert body == {"model": "x", "messages": MESSAGES, "temperature": 0, "max_tokens": 8}
    assert (answer.text, answer.input_tokens, answer.output_tokens, answer.cached_tokens) == ("bug", 21, 3, 4)
    assert (answer.finish_reason, answer.model) == ("stop", "claude-2026")
    complete()
    assert server.requests[1][2] == {"model": "x", "messages": MESSAGES, "max_tokens": 4096}


def test_system_messages_are_a_field_of_their_own(complete, server):  # noqa: F811
    complete(messages=[{"role": "system", "content": "a"}, *MESSAGES, {"role": "developer", "content": "b"}])
    body = server.requests[0][2]
    assert body["system"] == [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert body["messages"] == MESSAGES


SYSTEM = {"role": "system", "content": "rules"}
USER = {"role": "user", "content": "Which team? Ticket: a"}
MARK = {"type": "ephemeral"}


@pytest.mark.parametrize(
    ("prefix", "marked"),
    [
        (Prefix(1, 20, 300), ["Which team? Ticket: "]),
        (Prefix(1, 0, 300), ["rules"]),
        (Prefix(2, 0, 300), ["Which team? Ticket: a"]),
        (Prefix(0, 3, 300), ["rul"]),
        (Prefix(1, 300, 300), ["Which team? Ticket: a"]),
    ],
)
def test_the_last_block_that_requests_share_has_a_mark(complete, server, prefix, marked):  # noqa: F811
    complete(messages=[SYSTEM, USER], prefix=prefix)
    body = server.requests[0][2]
    blocks = [*body["system"], *body["messages"][0]["content"]]
    assert [block["text"] for block in blocks if block.get("cache_control") == MARK] == marked
    assert "".join(block["text"] for block in blocks) == SYSTEM["content"] + USER["content"]


def test_what_stays_for_an_hour_says_so(complete, server):  # noqa: F811
    complete(messages=[SYSTEM, USER], prefix=Prefix(1, 0, 3600))
    assert server.requests[0][2]["system"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}


def test_a_mark_stands_where_the_provider_still_reads_what_is_shared(complete, server):  # noqa: F811
    """It reads the system first, with what is said there about the schema; nothing behind a part that changes is shared."""
    schema = {"type": "object", "additionalProperties": {"type": "string"}}
    complete(messages=[SYSTEM, USER], prefix=Prefix(1, 0, 300), output_schema=schema)
    assert [block.get("cache_control") for block in server.requests[0][2]["system"]] == [None, MARK]
    complete(messages=[USER, {"role": "system", "content": "about a"}], prefix=Prefix(1, 0, 300))
    assert "cache_control" not in json.dumps(server.requests[1][2])


def test_no_block_is_made_of_space_alone(complete, server):  # noqa: F811
    complete(messages=[SYSTEM, {"role": "user", "content": "\n\nticket"}], prefix=Prefix(1, 2, 300))
    body = server.requests[0][2]
    assert body["messages"][0]["content"] == [{"type": "text", "text": "\n\nticket"}]
    assert body["system"][0]["cache_control"] == MARK


def test_tokens_that_were_taken_into_the_prompt_cache_are_told(complete):
    usage = {"input_tokens": 12, "output_tokens": 3, "cache_creation_input_tokens": 50, "cache_creation": {"ephemeral_1h_input_tokens": 20}}
    answer = complete(message(usage=usage))
    assert (answer.input_tokens, answer.cached_tokens, answer.written_tokens, answer.hour_tokens) == (62, 0, 50, 20)


def test_a_schema_is_sent_as_a_format(complete, server):  # noqa: F811
    complete(output_schema={"enum": ["a", "b"], "type": "string"}, max_tokens=4)
    body = server.requests[0][2]
    assert body["output_config"]["format"]["type"] == "json_schema"
    assert body["output_config"]["format"]["schema"]["properties"] == {"value": {"enum": ["a", "b"], "type": "string"}}
    assert body["max_tokens"] == 4 + 32


def test_a_schema_the_format_cannot_say_is_told_beside_the_pipeline_s_own_words(complete, server):  # noqa: F811
    schema = {"type": "object", "additionalProperties": {"type": "integer"}}
    asked = [{"role": "system", "content": "Be brief."}, *MESSAGES]
    complete(output_schema=schema, messages=asked)
    body = server.requests[0][2]
    assert "output_config" not in body
    own, told = (block["text"] for block in body["system"])
    assert own == "Be brief."
    assert told.endswith(json.dumps(schema))
    assert body == anthropic.body(TARGET, ModelRequest("m/x", asked, output_schema=schema))


def test_a_seed_is_left_out_and_said_once(complete, server, caplog):  # noqa: F811
    anthropic._note_seed.cache_clear()
    with caplog.at_level(logging.WARNING, "xcs_airflow.runtime"):
        complete(seed=7)
        complete(seed=7)
    assert "seed" not in server.requests[0][2]
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["m/x takes no seed"]


@pytest.mark.parametrize(
    ("reason", "finish_reason"),
    [("end_turn", "stop"), ("stop_sequence", "stop"), ("max_tokens", "length"), ("pause_turn", "pause_turn"), (None, "stop")],
)
def test_why_an_answer_ended_is_said_in_the_words_of_all_providers(complete, reason, finish_reason):
    assert complete(message(stop_reason=reason)).finish_reason == finish_reason


def test_the_text_is_all_texts_and_no_thoughts(complete):
    reply = message("a", "b")
    reply["content"].insert(0, {"type": "thinking", "thinking": "hm"})
    assert complete(reply).text == "ab"


def test_usage_that_is_not_said_is_unknown_and_not_zero(complete):
    for usage in (None, [], {"input_tokens": "12", "output_tokens": -1}):
        answer = complete(message(usage=usage))
        assert (answer.input_tokens, answer.output_tokens, answer.cached_tokens) == (None, None, 0)


def test_a_refusal_and_an_answer_that_never_began_are_errors_of_their_row(complete):
    refused = failure(complete, message(stop_reason="refusal", stop_details={"explanation": f"not {KEY}"}))
    assert (refused.blame, refused.reason, refused.may_be_billed) == ("row", "no answer: not [key]", True)
    assert failure(complete, message("", stop_reason="max_tokens")).blame == "row"
    assert failure(complete, message(content=[])).blame == "row"


@pytest.mark.parametrize("content", [b"<html>", b"[]", b"{}", b'{"content": "x"}', b'{"content": [{"type": "text"}]}', b"\xff"])
def test_an_answer_that_is_none_may_have_been_billed(complete, content):
    found = failure(complete, content)
    assert (found.blame, found.may_be_billed) == ("busy", True)


def test_limits_and_overload_are_waited_for(complete):
    limited = failure(complete, error("rate_limit_error", "slow down"), status=429, headers={"Retry-After": "7"})
    assert (limited.blame, limited.is_limit, limited.retry_after_s, limited.reason) == ("busy", True, 7, "HTTP 429: slow down")
    overloaded = failure(complete, error("overloaded_error", "Overloaded"), status=529)
    assert (overloaded.blame, overloaded.is_limit, overloaded.may_be_billed) == ("busy", True, False)
    assert not failure(complete, error("api_error", "oops"), status=500).is_limit


@pytest.mark.parametrize(
    ("status", "reply", "blame"),
    [
        (401, error("authentication_error", "invalid x-api-key"), "route"),
        (400, error("invalid_request_error", "max_tokens: too large"), "row"),
        (400, error("invalid_request_error", "Your credit balance is too low to access the API."), "route"),
        (402, error("billing_error", "pay"), "route"),
        (429, error("rate_limit_error", "spend", details={"error_code": "enforced_spend_limit_reached"}), "route"),
    ],
)
def test_refusals_concern_one_row_or_all(complete, status, reply, blame):
    assert failure(complete, reply, status=status).blame == blame
