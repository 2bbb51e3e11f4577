"""What a provider is: it answers one request, or says why an attempt failed.

It knows requests, answers and the override that tests use; it does not know protocols, retries or prices.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple, Protocol

Message = dict[str, str]

Blame = Literal["busy", "row", "route"]
"""Whom a failed attempt concerns: nobody (try again), this request (the next may succeed), or every request on this route."""


class Prefix(NamedTuple):
    """The beginning of a request that others share, and that the provider is asked to keep.

    Attributes:
        messages: How many messages are shared as a whole.
        characters: How much of the next one is.
        ttl_s: For how many seconds it is to be kept after its last use.
        prime: Whether one request is answered before others with the same prefix are made.
    """

    messages: int
    characters: int
    ttl_s: int
    prime: bool = False

    def texts(self, messages: list[Message]) -> tuple[str, ...]:
        """What the shared part says, by which requests that share one are known."""
        whole = [f"{message['role']}:{message['content']}" for message in messages[: self.messages]]
        return *whole, messages[self.messages]["content"][: self.characters] if self.characters else ""


class ModelRequest(NamedTuple):
    """One complete request.

    Attributes:
        model: `provider/name`, as the pipeline says.
        messages: Each `{"role": ..., "content": ...}`.
        temperature: Sampling temperature; None leaves it to the provider.
        max_tokens: Longest answer in tokens; None leaves it to the provider.
        seed: Sampling seed; None leaves it to the provider.
        output_schema: JSON Schema of the answer; None means plain text.
        prefix: The part that the provider is asked to keep for the next request; None asks for nothing. It changes no answer.
    """

    model: str
    messages: list[Message]
    temperature: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    output_schema: dict[str, Any] | None = None
    prefix: Prefix | None = None


class ModelAnswer(NamedTuple):
    """What came back.

    Attributes:
        text: The answer; with an output schema, JSON.
        input_tokens: Tokens of the request, as the provider counted; None when it did not say.
        output_tokens: Tokens of the answer, likewise.
        finish_reason: Why the model stopped: `stop`, `length` when it was cut off, or the provider's own word.
        model: The model that answered, when the provider says.
        cached_tokens: Tokens of the request that the provider had in its own prompt cache.
        written_tokens: Tokens of the request that it took into that cache.
        hour_tokens: Of these, those that stay there for an hour.
    """

    text: str
    input_tokens: int | None = None
    output_tokens: int | None = None
    finish_reason: str = "stop"
    model: str | None = None
    cached_tokens: int = 0
    written_tokens: int = 0
    hour_tokens: int = 0


class AttemptError(Exception):
    """One attempt to get an answer failed.

    Attributes:
        reason: One line for people, without secrets.
        blame: Whom it concerns.
        retry_after_s: How long the provider asked to wait.
        is_limit: Whether the provider said that it gets too many requests.
        may_be_billed: Whether the provider may have answered all the same, as after a lost connection.
        status: The status of HTTP that the provider answered with; None when it did not answer, or not by HTTP.
    """

    def __init__(
        self,
        reason: str,
        *,
        blame: Blame,
        retry_after_s: float | None = None,
        is_limit: bool = False,
        may_be_billed: bool = False,
        status: int | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.blame = blame
        self.retry_after_s = retry_after_s
        self.is_limit = is_limit
        self.may_be_billed = may_be_billed
        self.status = status


class Provider(Protocol):
    """Answers requests. One attempt per call: retries, pacing and books are kept outside."""

    def complete(self, request: ModelRequest) -> ModelAnswer | Awaitable[ModelAnswer]:
        """Answer a request.

        Raises:
            AttemptError: It was not answered.
        """


_OVERRIDES: list[Provider] = []
_LOCK = threading.Lock()


@contextmanager
def use_provider(provider: Provider) -> Iterator[Provider]:
    """Let a provider answer every request of this process, whatever the model and the thread, while the block runs.

    Its answers get cache keys of their own, so that they never stand in for a real model's.
    """
    with _LOCK:
        _OVERRIDES.append(provider)
    try:
        yield provider
    finally:
        with _LOCK:
            _OVERRIDES.remove(provider)


def override() -> Provider | None:
    """The provider that stands in for all, if there is one."""
    with _LOCK:
        return _OVERRIDES[-1] if _OVERRIDES else None
