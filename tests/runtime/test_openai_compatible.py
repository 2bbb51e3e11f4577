"""The protocol, against a server of our own that answers as it is told."""

import socket
import threading
from email.utils import formatdate

import pytest

from .models_server import KEY, MESSAGES, Client, Exchange, failure, server  # noqa: F401  # server is a fixture


def completion(content="bug", **changes):
    message = {"role": "assistant", "content": content}
    usage = {"prompt_tokens": 12, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {"model": "gpt-4.1-mini-2025", "choices": [choice], "usage": usage, **changes}


@pytest.fixture
def complete(server, monkeypatch):  # noqa: F811
    """Sends one request, with a key."""
    monkeypatch.setenv("TEST_KEY", KEY)
    return Client(server, "openai", completion)


def test_a_request_says_what_was_asked_for_and_nothing_else(complete, server):  # noqa: F811
    answer = complete(temperature=0, max_tokens=8, seed=7)
    path, headers, body = server.requests[0]
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert body == {"model": "x", "messages": MESSAGES, "temperature": 0, "max_tokens": 8, "seed": 7}
    assert (answer.text, answer.input_tokens, answer.output_tokens, answer.cached_tokens) == ("bug", 12, 3, 4)
    assert (answer.finish_reason, answer.model) == ("stop", "gpt-4.1-mini-2025")
    complete()
    assert server.requests[1][2] == {"model": "x", "messages": MESSAGES}


def test_the_endpoint_has_its_own_name_for_the_limit(complete, server):  # noqa: F811
    complete(max_tokens=8, route={"token_limit": "max_completion_tokens"})
    assert server.requests[0][2]["max_completion_tokens"] == 8


def test_a_schema_is_wrapped_in_an_object_and_gets_room_for_it(complete, server):  # noqa: F811
    complete(output_schema={"enum": ["a", "b"], "type": "string"}, max_tokens=4)
    body = server.requests[0][2]
    sent = body["response_format"]["json_schema"]
    assert body["response_format"]["type"] == "json_schema"
    assert sent["strict"] is True
    assert sent["schema"]["properties"]["value"] == {"enum": ["a", "b"], "type": "string"}
    assert body["max_tokens"] == 4 + 32
    complete(output_schema={"type": "object", "additionalProperties": {"type": "string"}}, max_tokens=4)
    body = server.requests[1][2]
    assert body["response_format"]["json_schema"]["strict"] is False
    assert body["max_tokens"] == 4


def test_usage_that_is_not_said_is_unknown_and_not_zero(complete):
    odd = {"prompt_tokens": "12", "completion_tokens": -1, "prompt_tokens_details": 3}
    for usage in (None, [], odd, {"prompt_tokens": 10**30, "completion_tokens": True}):
        answer = complete(completion(usage=usage))
        assert (answer.input_tokens, answer.output_tokens, answer.cached_tokens) == (None, None, 0)


def test_content_may_come_in_parts(complete):
    assert complete(completion([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])).text == "ab"


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 529])
def test_busy_servers_are_worth_another_try(complete, status):
    error = failure(complete, {"error": {"message": "slow down"}}, status=status)
    assert error.blame == "busy"
    assert error.reason == f"HTTP {status}: slow down"
    assert error.is_limit == (status in (429, 503, 529))
    assert not error.may_be_billed


@pytest.mark.parametrize("status", [400, 413, 422])
def test_refused_requests_concern_one_row(complete, status):
    assert failure(complete, {"error": {"message": "bad"}}, status=status).blame == "row"


@pytest.mark.parametrize("status", [401, 403, 404, 302])
def test_refused_keys_concern_every_row(complete, status):
    assert failure(complete, {"error": "no"}, status=status).blame == "route"


def test_spent_quota_is_not_tried_again(complete):
    error = failure(complete, {"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}, status=429)
    assert error.blame == "route"


def test_redirects_are_not_followed_and_the_key_stays_here(complete, server):  # noqa: F811
    failure(complete, b"", status=307, headers={"Location": f"{server.url}/elsewhere"})
    assert [path for path, _, _ in server.requests] == ["/v1/chat/completions"]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "1.5"}, 1.5),
        ({"retry-after-ms": "250"}, 0.25),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "Sun, 06 Nov 1994 08:49:37 +99999999999999999999"}, None),
        ({}, None),
    ],
)
def test_the_server_may_say_how_long_to_wait(complete, headers, seconds):
    assert failure(complete, b"", status=429, headers=headers).retry_after_s == seconds


def test_the_time_to_wait_may_be_a_date(complete):
    wait_s = failure(complete, b"", status=429, headers={"Retry-After": formatdate(usegmt=True)}).retry_after_s
    assert wait_s == 0


def test_an_error_is_one_short_line_without_the_key(complete):
    error = failure(complete, {"error": {"message": f"bad key {KEY}\r\n" + "x" * 1000}}, status=401)
    assert error.reason.startswith("HTTP 401: bad key [key] xxx")


NO_COMPLETIONS = [b"<html>", b"[]", b"{}", b'{"choices": []}', b'{"choices": [{"message": "x"}]}', b"\xff", b"[" * 5000]


@pytest.mark.parametrize("content", NO_COMPLETIONS)
def test_an_answer_that_is_none_may_have_been_billed(complete, content):
    error = failure(complete, content)
    assert (error.blame, error.may_be_billed) == ("busy", True)


@pytest.mark.parametrize(("code", "blame"), [("overloaded", "busy"), ("insufficient_quota", "route")])
def test_an_error_may_come_as_an_answer(complete, code, blame):
    error = failure(complete, completion(error={"message": f"upstream says no to {KEY}", "code": code}))
    assert (error.blame, error.may_be_billed) == (blame, blame == "busy")
    assert error.reason == "HTTP 200 with an error: upstream says no to [key]"


def test_an_error_that_is_none_is_no_error(complete):
    assert complete(completion(error=None)).text == "bug"


def test_a_refusal_is_an_error_of_its_row(complete):
    reply = completion(None)
    reply["choices"][0]["message"]["refusal"] = "I cannot help with that"
    error = failure(complete, reply)
    assert (error.blame, error.reason) == ("row", "no answer: I cannot help with that")


def test_a_connection_that_breaks_may_have_been_billed(complete, server):  # noqa: F811
    server.replies.append((0, {}, None))
    error = failure(complete)
    assert (error.blame, error.may_be_billed) == ("busy", True)


def test_a_server_that_is_not_there_bills_nothing(complete):
    error = failure(complete, address="http://127.0.0.1:9/v1")
    assert (error.blame, error.may_be_billed) == ("busy", False)
    assert "cannot connect" in error.reason


def test_patience_has_an_end(complete, monkeypatch):
    release = threading.Event()
    monkeypatch.setattr(Exchange, "do_POST", lambda self: release.wait(10))
    try:
        error = failure(complete, route={"timeout_s": 0.05})
    finally:
        release.set()
    assert (error.blame, error.may_be_billed) == ("busy", True)


def test_a_server_that_sends_a_byte_at_a_time_is_given_up_as_well(complete, monkeypatch):
    release = threading.Event()

    def drip(self):
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        while not release.wait(0.02):
            self.wfile.write(b" ")

    monkeypatch.setattr(Exchange, "do_POST", drip)
    try:
        error = failure(complete, route={"timeout_s": 0.3})
    finally:
        release.set()
    assert (error.blame, error.may_be_billed, error.reason) == ("busy", True, "no complete answer in 0.3 s")


def test_an_answer_has_a_largest_size(complete, monkeypatch):
    monkeypatch.setattr("xcs_airflow.runtime.models.http._LARGEST_ANSWER", 1 << 20)
    assert complete(completion("x" * 1000)).text == "x" * 1000
    error = failure(complete, completion("x" * (2 << 20)))
    assert (error.blame, error.may_be_billed, error.reason) == ("row", True, "the answer is larger than 1 MiB")


def test_a_name_that_leads_to_a_metadata_service_is_not_connected_to(complete, monkeypatch):
    """Also when the name itself looks harmless: what counts is where the socket goes."""
    resolved = []

    def resolve(host, port, *args, **kwargs):
        resolved.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    error = failure(complete, address="http://models.example.com:1/v1")
    assert resolved == ["models.example.com"]
    assert error.blame == "route"
    assert not error.may_be_billed
    assert "169.254.169.254 is link-local" in error.reason


def test_the_password_of_a_proxy_is_not_shown(complete, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://me:hunter2secret@127.0.0.1:9")
    error = failure(complete, address="http://models.example.com/v1")
    assert "cannot connect" in error.reason
    assert "hunter2secret" not in error.reason
