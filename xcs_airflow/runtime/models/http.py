"""One exchange with a server over HTTP: connections, limits of time, and whom a refusal concerns.

It knows sockets, statuses and headers; what a request and an answer say, a `Dialect` knows. It does not try again.
"""

from __future__ import annotations

import asyncio
import errno
import json
import re
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import IO, TYPE_CHECKING, Any, NamedTuple, Self
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from xcs_airflow.runtime.endpoints import is_metadata
from xcs_airflow.runtime.models.deadlines import Deadlines
from xcs_airflow.runtime.models.json_bytes import dumped, parsed
from xcs_airflow.runtime.models.provider import AttemptError, ModelAnswer, ModelRequest
from xcs_airflow.runtime.models.routes import Target

if TYPE_CHECKING:
    import aiohttp
    from yarl import URL

_CONNECT_TIMEOUT_S = 10
_LARGEST_ANSWER = 32 << 20
_REFUSED_PLACE = "is link-local or a cloud's metadata service"
_MOST_TOKENS = 1 << 40
_LONGEST_REASON = 200
_LONGEST_ERROR = 2000
_NUMBER = re.compile(r"\d+(\.\d+)?", re.ASCII)
_BREAKS = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_OK = 200
_BUSY = frozenset({408, 409, 425, 429})
_LIMIT = frozenset({429, 503, 529})
_ROUTE = frozenset({401, 402, 403, 404, 405, 407})


class Refusal(NamedTuple):
    """What a server says about an error.

    Attributes:
        message: For people.
        words: For programs: its code, its type and whatever else names it.
    """

    message: str
    words: frozenset[str]


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a kind of server is spoken to, in JSON.

    Attributes:
        path: Where requests go, below the endpoint.
        headers: What goes with every request, given the key.
        settled: All that a request says but for its messages: the same for all calls of a step, and written down once.
        spoken: What the messages of a request become, given what is settled; a field it gives as well takes the place of the settled one.
        read: The answer in a document, or an `AttemptError`.
        is_spent: Whether a refusal says that the money or the quota is used up, so that asking again makes no sense.
    """

    path: str
    headers: Callable[[str | None], Mapping[str, str]]
    settled: Callable[[Target, ModelRequest], dict[str, Any]]
    spoken: Callable[[ModelRequest, Mapping[str, Any]], dict[str, Any]]
    read: Callable[[Target, Any], ModelAnswer]
    is_spent: Callable[[Refusal], bool]

    def body(self, target: Target, request: ModelRequest) -> dict[str, Any]:
        """The complete request, as a document."""
        settled = self.settled(target, request)
        return {**settled, **self.spoken(request, settled)}


class Exchanged(NamedTuple):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class Wire:
    """Open connections to one endpoint: without redirects, which would carry the key away, and without cookies.

    Args:
        session: The connections.
        target: Where they lead.
        proxy: The proxy on the way, if there is one.
    """

    def __init__(self, session: aiohttp.ClientSession, target: Target, proxy: str | None) -> None:
        import aiohttp  # noqa: PLC0415

        self._session = session
        self._target = target
        self._proxy = proxy
        self._deadlines = Deadlines(target.route.timeout_s)
        self._unsafe_certificate = aiohttp.ClientConnectorCertificateError
        self._not_connected = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
        self._broken = (aiohttp.ClientError, TimeoutError)

    @classmethod
    @asynccontextmanager
    async def opened(cls, target: Target, in_flight: int, headers: Mapping[str, str]) -> AsyncIterator[Self]:
        """Connections for as long as the block runs.

        Args:
            target: Where they lead.
            in_flight: How many are used at a time.
            headers: What goes with every request.
        """
        import aiohttp  # noqa: PLC0415  # 0.2 s that only tasks with missing answers need

        proxy = _proxy_of(target.address)
        is_watched = proxy is None and not target.route.allow_link_local
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=in_flight, socket_factory=_watched_socket if is_watched else None),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=headers,
        )
        async with session:
            yield cls(session, target, proxy)

    async def exchange(
        self,
        url: URL,
        data: Any,
        *,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        most_bytes: int | None = None,
        into: IO[bytes] | None = None,
    ) -> Exchanged:
        """Send a request and take in all of what comes back, whatever its status.

        Args:
            url: Where to, on the target's host.
            data: The body, as aiohttp takes it.
            method: The verb.
            headers: What goes with this request, besides what goes with all.
            most_bytes: How much is taken in; None takes all.
            into: Where the content of a good answer goes, which then is not kept in memory.

        Raises:
            AttemptError: There was no complete answer in the time that the route allows, or it was too large.
        """
        task = self._deadlines.begin()
        response = None
        try:
            response = await self._session.request(method, url, data=data, headers=headers, allow_redirects=False, proxy=self._proxy)
            if into is not None and response.status == _OK:
                async for part in response.content.iter_any():
                    into.write(part)
                return Exchanged(response.status, response.headers, b"")
            content = await (response.read() if most_bytes is None else _read(response.content, most_bytes))
            return Exchanged(response.status, response.headers, content)
        except asyncio.CancelledError:
            if not self._deadlines.is_why(task):
                raise
            reason = f"no complete answer in {self._deadlines.seconds:g} s"
            raise AttemptError(reason, blame="busy", may_be_billed=True) from None
        except self._unsafe_certificate as error:
            raise AttemptError(self._redacted(f"cannot connect: {error}"), blame="route") from None
        except self._not_connected as error:
            reason = self._redacted(f"cannot connect: {error}")
            raise AttemptError(reason, blame="route" if _REFUSED_PLACE in str(error) else "busy") from None
        except self._broken as error:
            reason = f"no complete answer: {type(error).__name__}: {error}"
            raise AttemptError(self._redacted(reason), blame="busy", may_be_billed=True) from None
        finally:
            self._deadlines.end(task)
            if response is not None and not response.closed:  # it closes by itself at its end, and its connection is used again
                response.close()

    def _redacted(self, reason: str) -> str:
        password = urlsplit(self._proxy).password if self._proxy else None
        return redacted(reason, self._target, password)


class HttpModel:
    """A model behind HTTP.

    Args:
        wire: The way to it.
        target: Where its calls go.
        dialect: How it is spoken to.
    """

    def __init__(self, wire: Wire, target: Target, dialect: Dialect) -> None:
        from yarl import URL  # noqa: PLC0415

        self._exchange = wire.exchange
        self._target = target
        self._dialect = dialect
        self._url = URL(target.address + dialect.path)
        # With the schemas themselves, so that none is freed and its id given to another.
        self._heads: dict[tuple[Any, ...], tuple[bytes, dict[str, Any], dict[str, Any] | None]] = {}

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        """Answer a request, in one exchange."""
        status, headers, content = await self._exchange(self._url, self._written(request), most_bytes=_LARGEST_ANSWER)
        if status != _OK:
            raise failure(self._target, self._dialect, status, headers, content)
        try:
            document = parsed(content)
        except (ValueError, RecursionError):
            raise no_answer() from None
        if isinstance(document, dict) and document.get("error"):
            raise self._failed_late(content)
        return self._dialect.read(self._target, document)

    def _failed_late(self, content: bytes) -> AttemptError:
        """What an error means that comes as an answer, as from gateways that had to send a status before they knew better."""
        refusal = refusal_in(content)
        reason = redacted(f"HTTP {_OK} with an error: {refusal.message}", self._target)
        if self._dialect.is_spent(refusal):
            return AttemptError(reason, blame="route", status=_OK)
        return AttemptError(reason, blame="busy", may_be_billed=True, status=_OK)

    def _written(self, request: ModelRequest) -> bytes:
        """The request on the wire. All calls of a step begin the same: that part is written once."""
        kind = (request.temperature, request.max_tokens, request.seed, id(request.output_schema))
        known = self._heads.get(kind)
        if known is None:
            settled = self._dialect.settled(self._target, request)
            retold = self._dialect.spoken(request, settled)
            head = dumped({name: part for name, part in settled.items() if name not in retold})[:-1]
            known = self._heads[kind] = (head, settled, request.output_schema)
        head, settled, _ = known
        return b"%b,%b" % (head, dumped(self._dialect.spoken(request, settled))[1:])


@asynccontextmanager
async def opened(target: Target, in_flight: int, dialect: Dialect) -> AsyncIterator[HttpModel]:
    """A model behind HTTP, ready while the block runs.

    Args:
        target: Where its calls go.
        in_flight: How many of them at a time.
        dialect: How it is spoken to.

    Raises:
        ModelError: The variable with the key is not set (XCS706), or holds none (XCS712).
    """
    async with Wire.opened(target, in_flight, dialect.headers(target.key)) as wire:
        yield HttpModel(wire, target, dialect)


async def _read(stream: aiohttp.StreamReader, most_bytes: int) -> bytes:
    parts = []
    size = 0
    while not stream.at_eof():
        part = await stream.readany()
        parts.append(part)
        size += len(part)
        if size > most_bytes:
            raise AttemptError(f"the answer is larger than {most_bytes >> 20} MiB", blame="row", may_be_billed=True)
    return b"".join(parts)


def no_answer() -> AttemptError:
    """What a document is that is no answer at all."""
    return AttemptError("the answer is none that this protocol knows", blame="busy", may_be_billed=True)


def failure(target: Target, dialect: Dialect, status: int, headers: Mapping[str, str], content: bytes) -> AttemptError:
    """What a status other than 200 means, and for whom.

    Args:
        target: Who answered.
        dialect: How it was spoken to.
        status: The status.
        headers: The headers, whatever their case.
        content: What came with it.
    """
    refusal = refusal_in(content)
    reason = redacted(f"HTTP {status}" + (f": {refusal.message}" if refusal.message else ""), target)
    if status in _ROUTE or 300 <= status < 400 or dialect.is_spent(refusal):  # noqa: PLR2004
        return AttemptError(reason, blame="route", status=status)
    if status in _BUSY or status >= 500:  # noqa: PLR2004
        return AttemptError(reason, blame="busy", retry_after_s=_retry_after(headers), is_limit=status in _LIMIT, status=status)
    return AttemptError(reason, blame="row", status=status)


def refusal_in(content: bytes) -> Refusal:
    """What a server says about an error, as most write it: `{"error": {"message": …, "type": …, "code": …}}`."""
    text = content[:_LONGEST_ERROR].decode("utf-8", "replace")
    try:
        error = json.loads(content).get("error", text)
    except (ValueError, RecursionError, AttributeError):
        return Refusal(text, frozenset())
    if not isinstance(error, dict):
        return Refusal(str(error), frozenset())
    details = error.get("details")
    words = (error.get("code"), error.get("type"), details.get("error_code") if isinstance(details, dict) else None)
    return Refusal(str(error.get("message") or ""), frozenset(str(word) for word in words if word))


def redacted(reason: str, target: Target, *secrets: str | None) -> str:
    """A reason in one line, short, and without the key.

    Args:
        reason: What a server or a library said.
        target: Whose key it is.
        *secrets: What else must not be seen.
    """
    line = _BREAKS.sub(" ", reason)
    for secret in (target.secret, *secrets):
        if secret:
            line = line.replace(secret, "[key]")
    return line[:_LONGEST_REASON]


def count_in(document: Any, *path: str) -> int | None:
    """A number of tokens inside an answer; None where the server did not give one, or one that no answer has."""
    for name in path:
        document = document.get(name) if isinstance(document, dict) else None
    return document if type(document) is int and 0 <= document <= _MOST_TOKENS else None


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
    except (ValueError, OverflowError):
        return None


def _watched_socket(place: tuple[Any, ...]) -> socket.socket:
    """A socket for an address that a name led to, unless a cloud hands out credentials there."""
    family, kind, protocol, _, address = place
    if is_metadata(str(address[0])):
        message = f"{address[0]} {_REFUSED_PLACE}"
        raise PermissionError(errno.EACCES, message)
    return socket.socket(family, kind, protocol)


def _proxy_of(address: str) -> str | None:
    """The proxy the environment names for an endpoint. Asked once: aiohttp's own way also reads ~/.netrc, at every request."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    return None if host in ("localhost", "127.0.0.1", "::1") or proxy_bypass(host) else getproxies().get(parts.scheme)
