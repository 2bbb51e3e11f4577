"""Anthropic's own protocol: `POST {endpoint}/messages` (platform.claude.com/docs/en/api/messages).

It knows how a request is written, an answer read and a spent quota told; it sends nothing itself.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from functools import cache
from itertools import takewhile
from typing import Any, NamedTuple

from xcs_airflow.runtime.models import http
from xcs_airflow.runtime.models.http import Dialect, HttpModel, Refusal, count_in, no_answer, redacted
from xcs_airflow.runtime.models.provider import AttemptError, Message, ModelAnswer, ModelRequest, Prefix
from xcs_airflow.runtime.models.routes import Target
from xcs_airflow.runtime.models.structured import ANTHROPIC, WRAPPER_TOKENS, needs_wrapper, strict_form, wrapped

_LOG = logging.getLogger("xcs_airflow.runtime")

DEFAULT_MAX_TOKENS = 4096
"""The longest answer where the pipeline does not say: the API wants a number, and no model of Anthropic's takes less than this one."""

_HOUR_S = 3600
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
    written_tokens = count_in(document, "usage", "cache_creation_input_tokens") or 0
    hour_tokens = count_in(document, "usage", "cache_creation", "ephemeral_1h_input_tokens") or 0
    return ModelAnswer(
        text=text,
        input_tokens=None if fresh_tokens is None else fresh_tokens + written_tokens + read_tokens,
        output_tokens=count_in(document, "usage", "output_tokens"),
        finish_reason=finish_reason,
        model=str(document.get("model") or target.served_model),
        cached_tokens=read_tokens if fresh_tokens is not None else 0,
        written_tokens=written_tokens if fresh_tokens is not None else 0,
        hour_tokens=min(hour_tokens, written_tokens) if fresh_tokens is not None else 0,
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


def _spoken(request: ModelRequest, settled: Mapping[str, Any]) -> dict[str, Any]:
    """The messages; those of the system are a field of their own, before or after what is settled there."""
    if request.prefix is not None:
        return _marked(request.messages, request.prefix, settled)
    system = [_block(message["content"]) for message in request.messages if message["role"] in _SYSTEM]
    system += settled.get("system", [])
    spoken: dict[str, Any] = {"messages": [message for message in request.messages if message["role"] not in _SYSTEM]}
    return {"system": system, **spoken} if system else spoken


def _marked(messages: list[Message], prefix: Prefix, settled: Mapping[str, Any]) -> dict[str, Any]:
    """The same with a mark on the last block that all requests share, in the order in which the provider reads: the system first."""
    system: list[_Block] = []
    turns: list[tuple[str, list[_Block]]] = []
    for index, message in enumerate(messages):
        shared = len(message["content"]) if index < prefix.messages else prefix.characters if index == prefix.messages else 0
        blocks = _blocks(message["content"], shared)
        if message["role"] in _SYSTEM:
            system += blocks
        else:
            turns.append((message["role"], blocks))
    system += [_Block(block["text"], is_shared=True) for block in settled.get("system", [])]
    every = [*system, *(block for _, blocks in turns for block in blocks)]
    last = next(reversed(list(takewhile(lambda block: block.is_shared, every))), None)
    mark = {"type": "ephemeral", "ttl": "1h"} if prefix.ttl_s == _HOUR_S else {"type": "ephemeral"}

    def written(blocks: list[_Block]) -> list[dict[str, Any]]:
        return [{**_block(block.text), "cache_control": mark} if block is last else _block(block.text) for block in blocks]

    spoken: dict[str, Any] = {"messages": [{"role": role, "content": written(blocks)} for role, blocks in turns]}
    return {"system": written(system), **spoken} if system else spoken


class _Block(NamedTuple):
    """A piece of text, and whether all requests with the same prefix have it."""

    text: str
    is_shared: bool


def _blocks(text: str, shared: int) -> list[_Block]:
    """A text as blocks. No block is made of space alone, which the API refuses."""
    head, rest = text[:shared], text[shared:]
    if not rest:
        return [_Block(text, is_shared=True)]
    if not head.strip() or not rest.strip():
        return [_Block(text, is_shared=False)]
    return [_Block(head, is_shared=True), _Block(rest, is_shared=False)]


def _block(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


@cache
def _note_seed(model: str) -> None:
    _LOG.warning("%s takes no seed: its answers are sampled without the one that the pipeline asks for", model)


def _is_spent(refusal: Refusal) -> bool:
    return not _SPENT.isdisjoint(refusal.words) or any(sentence in refusal.message.lower() for sentence in _SPENT_SENTENCES)


DIALECT = Dialect("/messages", _headers, _settled, _spoken, read, _is_spent)
"""How Anthropic is spoken to."""
