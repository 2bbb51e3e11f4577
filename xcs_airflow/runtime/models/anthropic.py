"""Anthropic's own protocol: `POST {endpoint}/messages` (platform.claude.com/docs/en/api/messages).

It knows how a request is written, an answer read and a spent quota told; it sends nothing itself.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from functools import cache
from typing import Any

from xcs_airflow.runtime.models import http
from xcs_airflow.runtime.models.http import Dialect, HttpModel, Refusal, count_in, no_answer, redacted
from xcs_airflow.runtime.models.provider import AttemptError, Message, ModelAnswer, ModelRequest
from xcs_airflow.runtime.models.routes import Target
from xcs_airflow.runtime.models.structured import ANTHROPIC, WRAPPER_TOKENS, needs_wrapper, strict_form, wrapped

_LOG = logging.getLogger("xcs_airflow.runtime")

DEFAULT_MAX_TOKENS = 4096
"""The longest answer where the pipeline does not say: the API wants a number, and no model of Anthropic's takes less than this one."""

_VERSION = "2023-06-01"
_SYSTEM = frozenset({"system", "developer"})
_FINISHED = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "model_context_window_exceeded": "length"}
_INSTRUCTION = "Answer with nothing but JSON that fits this JSON Schema:"

# platform.claude.com/docs/en/api/errors and /rate-limits, 2026-10. Both sentences come as 400 invalid_request_error, which else
# concerns one request; the words come as 402 and 429.
_SPENT = frozenset({"billing_error", "enforced_spend_limit_reached"})
_SPENT_SENTENCES = ("your credit balance is too low", "you have reached your specified")


def opened(target: Target, in_flight: int) -> AbstractAsyncContextManager[HttpModel]:
    """A server that speaks Anthropic's protocol, ready while the block runs.

    Args:
        target: Where the calls go.
        in_flight: How many of them at a time.
    """
    return http.opened(target, in_flight, DIALECT)


def body(target: Target, request: ModelRequest) -> dict[str, Any]:
    """The complete request, as a document."""
    return DIALECT.body(target, request)


def read(target: Target, document: Any) -> ModelAnswer:
    """The answer in a message. What the model thought before it answered is left out.

    Raises:
        AttemptError: There is none in it, or the model refused to give one.
    """
    try:
        texts = [block["text"] for block in document["content"] if block["type"] == "text"]
        text = "".join(texts)
        reason = str(document.get("stop_reason") or "end_turn")
    except (KeyError, TypeError, AttributeError):
        raise no_answer() from None
    if reason == "refusal":
        details = document.get("stop_details")
        why = details.get("explanation") if isinstance(details, dict) else None
        raise AttemptError(redacted(f"no answer: {why or 'the model refused'}", target), blame="row", may_be_billed=True)
    finish_reason = _FINISHED.get(reason, reason)
    if not text and finish_reason == "length":
        raise AttemptError("no answer: max_tokens ended it before it began", blame="row", may_be_billed=True)
    if not texts:
        raise AttemptError("no answer: it has no content", blame="row", may_be_billed=True)
    read_tokens = count_in(document, "usage", "cache_read_input_tokens") or 0
    fresh_tokens = count_in(document, "usage", "input_tokens")
    kept_tokens = count_in(document, "usage", "cache_creation_input_tokens") or 0
    return ModelAnswer(
        text=text,
        input_tokens=None if fresh_tokens is None else fresh_tokens + kept_tokens + read_tokens,
        output_tokens=count_in(document, "usage", "output_tokens"),
        finish_reason=finish_reason,
        model=str(document.get("model") or target.served_model),
        cached_tokens=read_tokens if fresh_tokens is not None else 0,
    )


def _headers(key: str | None) -> Mapping[str, str]:
    return {"Content-Type": "application/json", "anthropic-version": _VERSION} | ({"x-api-key": key} if key else {})


def _settled(target: Target, request: ModelRequest) -> dict[str, Any]:
    limit = DEFAULT_MAX_TOKENS if request.max_tokens is None else request.max_tokens
    settled: dict[str, Any] = {"model": target.served_model, "max_tokens": limit}
    if request.temperature is not None:
        settled["temperature"] = request.temperature
    if request.seed is not None:
        _note_seed(target.model)
    if request.output_schema is not None:
        schema = request.output_schema
        if needs_wrapper(schema):
            settled["max_tokens"] = limit + WRAPPER_TOKENS
            schema = wrapped(schema)
        form = strict_form(schema, ANTHROPIC)
        if form is not None:
            settled["output_config"] = {"format": {"type": "json_schema", "schema": form}}
        else:
            settled["system"] = [_block(f"{_INSTRUCTION} {json.dumps(schema)}")]
    return settled


def _spoken(messages: list[Message], settled: Mapping[str, Any]) -> dict[str, Any]:
    """The messages; those of the system are a field of their own, before or after what is settled there."""
    system = [_block(message["content"]) for message in messages if message["role"] in _SYSTEM]
    system += settled.get("system", [])
    spoken: dict[str, Any] = {"messages": [message for message in messages if message["role"] not in _SYSTEM]}
    return {"system": system, **spoken} if system else spoken


def _block(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


@cache
def _note_seed(model: str) -> None:
    _LOG.warning("%s takes no seed: its answers are sampled without the one that the pipeline asks for", model)


def _is_spent(refusal: Refusal) -> bool:
    return not _SPENT.isdisjoint(refusal.words) or any(sentence in refusal.message.lower() for sentence in _SPENT_SENTENCES)


DIALECT = Dialect("/messages", _headers, _settled, _spoken, read, _is_spent)
"""How Anthropic is spoken to."""
