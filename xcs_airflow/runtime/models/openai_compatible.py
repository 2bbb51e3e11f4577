"""The protocol most servers speak: `POST {endpoint}/chat/completions`, over aiohttp.

It knows one exchange: how a request is written, an answer read and a failure judged. It does not try again.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from xcs_airflow.runtime.models.provider import AttemptError, ModelAnswer, ModelRequest
from xcs_airflow.runtime.models.routes import Target
from xcs_airflow.runtime.models.structured import WRAPPER_TOKENS, needs_wrapper, strict_form, wrapped

if TYPE_CHECKING:
    import aiohttp

_CONNECT_TIMEOUT_S = 10
_LONGEST_REASON = 200
_NUMBER = re.compile(r"\d+(\.\d+)?", re.ASCII)
_BUSY = frozenset({408, 409, 425, 429})
_ROUTE = frozenset({401, 403, 404, 405})
_SPENT = frozenset({"insufficient_quota", "billing_hard_limit_reached"})


class OpenAICompatible:
    """A server that speaks the OpenAI protocol.

    Args:
        session: Open connections, without redirects and cookies.
        target: Where the calls go.
        proxy: The proxy on the way, if there is one.
    """

    def __init__(self, session: aiohttp.ClientSession, target: Target, proxy: str | None) -> None:
        self._session = session
        self._target = target
        self._proxy = proxy
        self._url = f"{target.address}/chat/completions"
        self._key = target.key
        # With the schemas themselves, so that none is freed and its id given to another.
        self._formats: dict[int, tuple[dict[str, Any], dict[str, Any]]] = {}
        self._headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self._key}"} if self._key else {})

    @classmethod
    @asynccontextmanager
    async def opened(cls, target: Target, in_flight: int) -> AsyncIterator[Self]:
        """Open connections for as long as the block runs.

        Args:
            target: Where the calls go.
            in_flight: How many connections are used at a time.
        """
        import aiohttp  # noqa: PLC0415  # 0.2 s that only tasks with missing answers need

        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=in_flight),
            timeout=aiohttp.ClientTimeout(total=target.route.timeout_s, sock_connect=_CONNECT_TIMEOUT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        async with session:
            yield cls(session, target, _proxy_of(target.address))

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        """Answer a request, in one exchange."""
        import aiohttp  # noqa: PLC0415

        data = json.dumps(self._body(request)).encode()
        try:
            async with self._session.post(
                self._url, data=data, headers=self._headers, allow_redirects=False, proxy=self._proxy
            ) as response:
                content = await response.read()
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise AttemptError(self._redacted(f"cannot connect: {error}"), blame="busy") from None
        except (aiohttp.ClientError, TimeoutError) as error:
            reason = f"no complete answer: {type(error).__name__}: {error}"
            raise AttemptError(self._redacted(reason), blame="busy", may_be_billed=True) from None
        if response.status == 200:  # noqa: PLR2004
            return self._answer(content)
        raise self._failure(response.status, response.headers, content)

    def _body(self, request: ModelRequest) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self._target.served_model, "messages": request.messages}
        if request.temperature is not None:
            body["temperature"] = request.temperature
        if request.seed is not None:
            body["seed"] = request.seed
        limit = request.max_tokens
        if request.output_schema is not None:
            body["response_format"] = self._format_of(request.output_schema)
            if limit is not None and needs_wrapper(request.output_schema):
                limit += WRAPPER_TOKENS
        if limit is not None:
            body[self._target.route.token_limit] = limit
        return body

    def _format_of(self, schema: dict[str, Any]) -> dict[str, Any]:
        """How a schema is asked for; worked out once, for all calls of a step share one schema."""
        if id(schema) not in self._formats:
            sent = wrapped(schema) if needs_wrapper(schema) else schema
            strict = strict_form(sent)
            form = {"name": "answer", "strict": strict is not None, "schema": sent if strict is None else strict}
            self._formats[id(schema)] = (schema, {"type": "json_schema", "json_schema": form})
        return self._formats[id(schema)][1]

    def _answer(self, content: bytes) -> ModelAnswer:
        try:
            document = json.loads(content)
            choice = document["choices"][0]
            message = choice["message"]
            text = _text_of(message.get("content"))
        except (ValueError, RecursionError, KeyError, IndexError, TypeError, AttributeError):
            raise AttemptError("the answer is not a chat completion", blame="busy", may_be_billed=True) from None
        if text is None:
            refusal = message.get("refusal") or "it has no content"
            raise AttemptError(self._redacted(f"no answer: {refusal}"), blame="row", may_be_billed=True)
        return ModelAnswer(
            text=text,
            input_tokens=_count(document, "usage", "prompt_tokens"),
            output_tokens=_count(document, "usage", "completion_tokens"),
            finish_reason=str(choice.get("finish_reason") or "stop"),
            model=str(document.get("model") or self._target.served_model),
            cached_tokens=_count(document, "usage", "prompt_tokens_details", "cached_tokens") or 0,
        )

    def _failure(self, status: int, headers: Mapping[str, str], content: bytes) -> AttemptError:
        message, code = _error_of(content)
        reason = self._redacted(f"HTTP {status}" + (f": {message}" if message else ""))
        if status in _ROUTE or code in _SPENT or 300 <= status < 400:  # noqa: PLR2004
            return AttemptError(reason, blame="route")
        if status in _BUSY or status >= 500:  # noqa: PLR2004
            return AttemptError(reason, blame="busy", retry_after_s=_retry_after(headers), is_limit=status in (429, 503, 529))
        return AttemptError(reason, blame="row")

    def _redacted(self, reason: str) -> str:
        """A reason in one line, short, and without the key."""
        line = re.sub(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", reason)
        return (line.replace(self._key, "[key]") if self._key else line)[:_LONGEST_REASON]


def _count(document: Any, *path: str) -> int | None:
    """A number of tokens inside an answer; None where the server did not give one."""
    for name in path:
        document = document.get(name) if isinstance(document, dict) else None
    return document if isinstance(document, int) and document >= 0 else None


def _text_of(content: Any) -> str | None:
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else None


def _error_of(content: bytes) -> tuple[str, str]:
    """The message and the code of an error, as most servers write them."""
    text = content[:2000].decode("utf-8", "replace")
    try:
        error = json.loads(content).get("error", text)
    except (ValueError, RecursionError, AttributeError):
        return text, ""
    if isinstance(error, dict):
        return str(error.get("message") or ""), str(error.get("code") or error.get("type") or "")
    return str(error), ""


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait: `Retry-After` is a number or a date (RFC 9110, 10.2.3); OpenAI also sends milliseconds."""
    milliseconds = headers.get("retry-after-ms", "")
    if _NUMBER.fullmatch(milliseconds):
        return float(milliseconds) / 1000
    value = headers.get("Retry-After", "")
    if _NUMBER.fullmatch(value):
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def _proxy_of(address: str) -> str | None:
    """The proxy the environment names for an endpoint. Asked once: aiohttp's own way also reads ~/.netrc, at every request."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    return None if host in ("localhost", "127.0.0.1", "::1") or proxy_bypass(host) else getproxies().get(parts.scheme)
