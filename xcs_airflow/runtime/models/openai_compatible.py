"""The protocol most servers speak: `POST {endpoint}/chat/completions`.

It knows how a request is written, an answer read and a spent quota told; it sends nothing itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from xcs_airflow.runtime.models import http
from xcs_airflow.runtime.models.http import Dialect, HttpModel, Refusal, count_in, no_answer, redacted
from xcs_airflow.runtime.models.provider import AttemptError, ModelAnswer, ModelRequest
from xcs_airflow.runtime.models.routes import Target
from xcs_airflow.runtime.models.structured import WRAPPER_TOKENS, needs_wrapper, strict_form, wrapped

# platform.openai.com/docs/guides/error-codes: a limit that waiting does not lift also comes as 429.
_SPENT = frozenset({"insufficient_quota", "billing_hard_limit_reached", "credit_balance_exhausted"})


def opened(target: Target, in_flight: int) -> AbstractAsyncContextManager[HttpModel]:
    """A server that speaks the OpenAI protocol, ready while the block runs.

    Args:
        target: Where the calls go.
        in_flight: How many of them at a time.
    """
    return http.opened(target, in_flight, DIALECT)


def body(target: Target, request: ModelRequest) -> dict[str, Any]:
    """The complete request, as a document."""
    return DIALECT.body(target, request)


def read(target: Target, document: Any) -> ModelAnswer:
    """The answer in a chat completion.

    Raises:
        AttemptError: There is none in it, or the model refused to give one.
    """
    try:
        choice = document["choices"][0]
        message = choice["message"]
        text = _text_of(message.get("content"))
    except (KeyError, IndexError, TypeError, AttributeError):
        raise no_answer() from None
    finish_reason = str(choice.get("finish_reason") or "stop")
    if not text and finish_reason == "length":
        raise AttemptError("no answer: max_tokens ended it before it began", blame="row", may_be_billed=True)
    if text is None:
        refusal = message.get("refusal") or "it has no content"
        raise AttemptError(redacted(f"no answer: {refusal}", target), blame="row", may_be_billed=True)
    return ModelAnswer(
        text=text,
        input_tokens=count_in(document, "usage", "prompt_tokens"),
        output_tokens=count_in(document, "usage", "completion_tokens"),
        finish_reason=finish_reason,
        model=str(document.get("model") or target.served_model),
        cached_tokens=count_in(document, "usage", "prompt_tokens_details", "cached_tokens") or 0,
    )


def _headers(key: str | None) -> Mapping[str, str]:
    return {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})


def _settled(target: Target, request: ModelRequest) -> dict[str, Any]:
    settled: dict[str, Any] = {"model": target.served_model}
    if request.temperature is not None:
        settled["temperature"] = request.temperature
    if request.seed is not None:
        settled["seed"] = request.seed
    limit = request.max_tokens
    if request.output_schema is not None:
        settled["response_format"] = _format_of(request.output_schema)
        if limit is not None and needs_wrapper(request.output_schema):
            limit += WRAPPER_TOKENS
    if limit is not None:
        settled[target.route.token_limit] = limit
    return settled


def _spoken(request: ModelRequest, _: Mapping[str, Any]) -> dict[str, Any]:
    # A shared prefix needs no marker here: servers find it by themselves (platform.openai.com/docs/guides/prompt-caching).
    return {"messages": request.messages}


def _format_of(schema: dict[str, Any]) -> dict[str, Any]:
    """How a schema is asked for."""
    sent = wrapped(schema) if needs_wrapper(schema) else schema
    strict = strict_form(sent)
    form = {"name": "answer", "strict": strict is not None, "schema": sent if strict is None else strict}
    return {"type": "json_schema", "json_schema": form}


def _is_spent(refusal: Refusal) -> bool:
    return not _SPENT.isdisjoint(refusal.words)


def _text_of(content: Any) -> str | None:
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else None


DIALECT = Dialect("/chat/completions", _headers, _settled, _spoken, read, _is_spent)
"""How such a server is spoken to."""
