"""Runs pipelines in tests: models that answer what the test says, in this process, without keys and without waiting.

It knows replies and keeps the requests; it does not know pipelines.

    with fake_models(replies={"Which team": "bug", "one line": "The app crashes."}) as calls:
        page = triage("tickets.jsonl")
    assert calls.count == 3
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic_core import to_jsonable_python

if TYPE_CHECKING:
    from xcs_airflow.runtime.models import ModelAnswer, ModelRequest

_CHARACTERS_PER_TOKEN = 4


class Calls:
    """The requests that fake models have got so far, in order."""

    def __init__(self) -> None:
        self._requests: list[ModelRequest] = []

    def __len__(self) -> int:
        return len(self._requests)

    def __getitem__(self, index: int) -> ModelRequest:
        return self._requests[index]

    def __iter__(self) -> Iterator[ModelRequest]:
        return iter(tuple(self._requests))

    def __repr__(self) -> str:
        return f"<{self.count} calls>"

    @property
    def count(self) -> int:
        """How many there were."""
        return len(self._requests)

    @property
    def prompts(self) -> list[str]:
        """The text of each: its messages, with an empty line between them."""
        return [prompt_of(request) for request in self]

    @property
    def models(self) -> list[str]:
        """The model that each was meant for."""
        return [request.model for request in self]


def prompt_of(request: ModelRequest) -> str:
    """The text of a request: its messages, with an empty line between them."""
    return "\n\n".join(message["content"] for message in request.messages)


@contextmanager
def fake_models(replies: Any, *, cache: bool = False) -> Iterator[Calls]:
    """Let every call of a model in this process, from any thread, be answered by the test.

    Args:
        replies: What to answer.

            - a dict: the reply of the first key that is the model's name or part of the prompt;
            - a list: one reply after the other;
            - a function: it gets the prompt's text and returns the reply;
            - anything else: this, always.

            A reply is text, as a model would write it, or a value of the operation's output type; an exception is raised.
        cache: Whether answers are remembered, for as long as the block runs.

    Yields:
        The requests that reached a model.
    """
    from xcs_airflow.runtime.models import use_provider  # noqa: PLC0415  # tests may import this module before they need it

    calls = Calls()
    with tempfile.TemporaryDirectory(prefix="xcs-fake-") as folder:
        address = f"sqlite:///{folder}/cache.sqlite" if cache else "off"
        with use_provider(_FakeModel(replies, calls)), _variable("XCS_CACHE", address):
            yield calls


class _FakeModel:
    def __init__(self, replies: Any, calls: Calls) -> None:
        self._replies = replies
        self._calls = calls
        self._lock = threading.Lock()

    def complete(self, request: ModelRequest) -> ModelAnswer:
        from xcs_airflow.runtime.models import ModelAnswer  # noqa: PLC0415  # as above

        with self._lock:
            index = len(self._calls)
            self._calls._requests.append(request)  # noqa: SLF001  # tests only read it
        reply = self._reply(request, index)
        if isinstance(reply, Exception):
            raise reply
        text = reply if isinstance(reply, str) else json.dumps(to_jsonable_python(reply))
        return ModelAnswer(text, input_tokens=_tokens(prompt_of(request)), output_tokens=_tokens(text))

    def _reply(self, request: ModelRequest, index: int) -> Any:
        prompt, replies = prompt_of(request), self._replies
        if isinstance(replies, Mapping):
            return next((reply for key, reply in replies.items() if key == request.model or key in prompt), _missing(prompt))
        if isinstance(replies, Sequence) and not isinstance(replies, str):
            return replies[index] if index < len(replies) else _missing(prompt)
        return replies(prompt) if callable(replies) else replies


def _missing(prompt: str) -> Exception:
    from xcs_airflow.runtime.models import AttemptError  # noqa: PLC0415  # as above

    return AttemptError(f"the test has no reply for the prompt {prompt[:200]!r}", blame="row")


def _tokens(text: str) -> int:
    return max(1, len(text) // _CHARACTERS_PER_TOKEN)


@contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
