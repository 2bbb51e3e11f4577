"""The way to a provider's batch API: calls that are repeated where that is harmless, and files in both directions.

It knows when asking again may cost money; it does not know what is asked.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from xcs_airflow.errors import ModelError, ModelUnavailableError
from xcs_airflow.runtime.models.batch import UnknownFateError
from xcs_airflow.runtime.models.http import Dialect, Exchanged, Wire, failure, redacted
from xcs_airflow.runtime.models.provider import AttemptError
from xcs_airflow.runtime.models.routes import Target
from xcs_airflow.runtime.pacing import backoff_s

if TYPE_CHECKING:
    from yarl import URL

_LOG = logging.getLogger("xcs_airflow.runtime")
_SAME_PLACES = 3
_ATTEMPTS = 5
_LONGEST_WAIT_S = 120.0
FILE_PATIENCE = 10
"""A file of requests or results may take so many times as long as a call."""

_GOOD = range(200, 300)
_NOT_CREATED = frozenset({429, 529})
"""Too many requests, overloaded: what is answered so was turned away at the door. 503 is not: proxies say so about what they have
passed on ("upstream connect error or disconnect/reset before headers")."""

_MAYBE = frozenset({408, 409})
"""Too slow, or in conflict, perhaps with itself: what is answered so may have come through all the same."""


class BatchClient:
    """The way to a batch API: calls that are repeated where that is harmless, and files in both directions.

    Args:
        calls: Connections for calls.
        files: Connections for files, which may take longer.
        target: Where they lead.
        dialect: How the provider is spoken to.
    """

    def __init__(self, calls: Wire, files: Wire, target: Target, dialect: Dialect) -> None:
        from yarl import URL  # noqa: PLC0415

        self.target = target
        self.dialect = dialect
        self._calls = calls
        self._files = files
        self._url = URL

    @classmethod
    @asynccontextmanager
    async def opened(cls, target: Target, dialect: Dialect) -> AsyncIterator[BatchClient]:
        """The way to the batch API of a target, for as long as the block runs."""
        headers = {name: value for name, value in dialect.headers(target.key).items() if name != "Content-Type"}
        patient = replace(target, route=target.route.model_copy(update={"timeout_s": target.route.timeout_s * FILE_PATIENCE}))
        async with Wire.opened(target, 1, headers) as calls, Wire.opened(patient, 1, headers) as files:
            yield cls(calls, files, target, dialect)

    async def get(self, path: str) -> dict[str, Any]:
        """A document."""
        return self._document(await self._asked(lambda: self._calls.exchange(self._at(path), None, method="GET")))

    async def post(self, path: str) -> None:
        """Ask for something that may be asked for twice."""
        await self._asked(lambda: self._calls.exchange(self._at(path), None))

    async def sent(self, path: str, file: Path, body: Callable[[IO[bytes]], Any]) -> dict[str, Any]:
        """Send a file that may be sent twice; gives the document that comes back."""

        async def send() -> Exchanged:
            with file.open("rb") as content:
                return await self._files.exchange(self._at(path), body(content))

        return self._document(await self._asked(send))

    async def created(self, path: str, body: bytes | Path, until: float) -> str:
        """Send what must not be sent twice, a document or a file that holds one; gives the id that comes back.

        Args:
            path: Where to.
            body: The document.
            until: When it may not be sent any more, by `time.monotonic`.

        Raises:
            UnknownFateError: It may or may not have arrived.
        """

        async def exchange() -> Exchanged:
            headers = {"Content-Type": "application/json"}
            if isinstance(body, bytes):
                return await self._calls.exchange(self._at(path), body, headers=headers)
            with body.open("rb") as content:
                return await self._files.exchange(self._at(path), content, headers=headers)

        async def create() -> Exchanged:
            try:
                done = await exchange()
            except AttemptError as error:
                if error.may_be_billed:
                    raise UnknownFateError(error.reason) from None
                raise
            if done.status in _MAYBE or (done.status >= 500 and done.status not in _NOT_CREATED):  # noqa: PLR2004
                raise UnknownFateError(failure(self.target, self.dialect, *done).reason)
            return done

        answer = await self._asked(create, until)
        try:
            return str(json.loads(answer.content)["id"])
        except (ValueError, KeyError, TypeError, RecursionError):
            reason = "the answer names no batch"
            raise UnknownFateError(reason) from None

    async def fetched(self, path: str, into: Path, documents: int) -> Path:
        """Take a file of documents from the provider; gives where it is.

        A connection that breaks can look like the end of a file. So one that has fewer documents than the provider says is taken
        again; when it ends at the same place three times, it is all there is: to fetch it costs nothing, to ask again what it lacks does.

        Args:
            path: Where it is there.
            into: Where it is to be here.
            documents: How many the provider says it has, at least.

        Raises:
            ModelUnavailableError: It ends at another place each time (XCS724).
        """

        async def fetch() -> Exchanged:
            with into.open("wb") as content:
                return await self._files.exchange(self._at(path), None, method="GET", into=content)

        sizes: Counter[int] = Counter()
        for _ in range(_ATTEMPTS):
            await self._asked(fetch)
            found, size = _measured(into)
            sizes[size] += 1
            if found >= documents or sizes[size] == _SAME_PLACES:
                return into
            _LOG.info("%d of %d results came for %s: they are fetched again", found, documents, self.target.model)
        reason = f"its results are never complete: {found} of {documents} came"
        raise ModelUnavailableError.because("XCS724", model=self.target.model, attempts=_ATTEMPTS, reason=reason)

    def redacted(self, reason: str) -> str:
        """A reason in one line, short, and without the key."""
        return redacted(reason, self.target)

    def _at(self, path: str) -> URL:
        return self._url(self.target.address + path)

    async def _asked(self, attempt: Callable[[], Awaitable[Exchanged]], until: float = inf) -> Exchanged:
        """One good answer, asked for again where that may help and the time is not over."""
        for failed in range(1, _ATTEMPTS + 1):
            try:
                if time.monotonic() > until:
                    reason = "the time for it is over"
                    raise ModelUnavailableError.because("XCS724", model=self.target.model, attempts=failed - 1, reason=reason)
                done = await attempt()
                if done.status in _GOOD:
                    return done
                raise failure(self.target, self.dialect, *done)
            except AttemptError as error:
                model = self.target.model
                if error.blame != "busy":
                    raise RefusedError.because("XCS723", model=model, reason=error.reason) from None
                wait_s = error.retry_after_s if error.retry_after_s is not None else backoff_s(failed)
                if failed == _ATTEMPTS or wait_s > min(_LONGEST_WAIT_S, until - time.monotonic()):
                    raise ModelUnavailableError.because("XCS724", model=model, attempts=failed, reason=error.reason) from None
                _LOG.info("the batch API for %s is asked again in %.1f s: %s", model, wait_s, error.reason)
            await asyncio.sleep(wait_s)
        raise AssertionError

    def _document(self, done: Exchanged) -> dict[str, Any]:
        try:
            document = json.loads(done.content)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise RefusedError.because("XCS723", model=self.target.model, reason="the answer is none that this protocol knows")
        return document


class RefusedError(ModelError):
    """The batch API says no, and would say so again."""


def documents_in(file: Path) -> Iterator[dict[str, Any]]:
    """The documents of a file that has one on each line. A line that is none tells nothing."""
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                document = json.loads(line)
            except (ValueError, RecursionError):
                document = None
            if isinstance(document, dict):
                yield document
            elif line.strip():
                _LOG.warning("line %d of a batch's results is no document, and is left out", number)


def _measured(file: Path) -> tuple[int, int]:
    """How many documents a file has, and how many bytes."""
    return sum(1 for _ in documents_in(file)), file.stat().st_size
