"""Anthropic's message batches: all requests in the body of one call, the results as lines.

It knows the documents of `/messages/batches` (platform.claude.com/docs/en/api/creating-message-batches); it does not know steps
or keys. Batches have no metadata there: one is known by the ids of its requests, which can be read once it has ended.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from math import inf
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from xcs_airflow.errors import ModelUnavailableError
from xcs_airflow.runtime.models.anthropic import DIALECT
from xcs_airflow.runtime.models.batch import (
    BatchResult,
    BatchStatus,
    FileForm,
    Kind,
    NotToldError,
    NotToldYetError,
    ResultFile,
    Sought,
)
from xcs_airflow.runtime.models.batch_client import FILE_PATIENCE, BatchClient, RefusedError, documents_in
from xcs_airflow.runtime.models.provider import ModelAnswer, ModelRequest
from xcs_airflow.runtime.models.routes import Target

_PAGE = 100
_MOST_PAGES = 20
_CLOCKS_DIFFER_S = 3600
_KINDS: dict[str, Kind] = {"errored": "errored", "expired": "expired", "canceled": "cancelled"}
_PASSING = frozenset({"api_error", "overloaded_error", "rate_limit_error", "timeout_error"})


@asynccontextmanager
async def opened(target: Target) -> AsyncIterator[AnthropicBatches]:
    """The batch API of a target, ready while the block runs."""
    async with BatchClient.opened(target, DIALECT) as client:
        yield AnthropicBatches(client)


class AnthropicBatches:
    """Anthropic's batch API.

    Args:
        client: The way to it.
    """

    form = FileForm(b'{"requests":[', b",\n", b"]}")

    def __init__(self, client: BatchClient) -> None:
        self._client = client
        self.attempt_s = client.target.route.timeout_s * FILE_PATIENCE

    def line(self, custom_id: str, request: ModelRequest) -> bytes:
        """One request, as it stands in a file."""
        return json.dumps({"custom_id": custom_id, "params": DIALECT.body(self._client.target, request)}).encode()

    def read(self, document: Any) -> ModelAnswer:
        """The answer in a message."""
        return DIALECT.read(self._client.target, document)

    async def upload(self, file: Path) -> str:  # noqa: ARG002
        """Nothing: requests go with the call that creates the batch."""
        return ""

    async def create(self, file: Path, uploaded: str, mark: str, until: float) -> str:  # noqa: ARG002  # the requests' ids have the mark
        """Let a file be worked on; gives the batch's id."""
        return await self._client.created("/messages/batches", file, until)

    async def find(self, sought: Sought) -> str | None:
        """The id of the batch whose requests have a mark; None when the account has none."""
        is_one_at_work = False
        silent = ""
        after: dict[str, str] = {}
        for _ in range(_MOST_PAGES):
            try:
                page = await self._client.get(f"/messages/batches?{urlencode({'limit': _PAGE, **after})}")
            except RefusedError as error:
                raise NotToldError(error.findings[0].message) from None
            batches = page.get("data") or []
            for batch in (batch for batch in batches if _may_be(batch, sought)):
                if batch.get("processing_status") != "ended":
                    is_one_at_work = True
                    continue
                is_marked = await self._is_marked(batch, sought.mark)
                if is_marked:
                    return str(batch["id"])
                if is_marked is None:
                    silent = str(batch["id"])
            # The newest come first.
            if not page.get("has_more") or not batches or (_time_in(batches[-1], "created_at") or inf) < sought.since - _CLOCKS_DIFFER_S:
                break
            after = {"after_id": str(batches[-1]["id"])}
        else:
            reason = f"the {_PAGE * _MOST_PAGES} newest batches of the account are all younger"
            raise NotToldError(reason)
        if is_one_at_work:
            reason = "a batch of as many requests is at work, and its ids can be read when it has ended"
            raise NotToldYetError(reason)
        if silent:
            reason = f"{silent} has as many requests and no result, so nothing says whose it is"
            raise NotToldError(reason)
        return None

    async def status(self, batch_id: str) -> BatchStatus:
        """How far a batch is."""
        batch = await self._client.get(f"/messages/batches/{quote(batch_id, safe='')}")
        results = ResultFile(str(batch.get("id") or batch_id), sum(_counts(batch).values()))
        has_ended = batch.get("processing_status") == "ended"
        ended_at = _time_in(batch, "ended_at")
        return BatchStatus(has_ended, (results,), reason="the batch has ended without it", ended_at=ended_at)

    async def results(self, batch_id: str, status: BatchStatus, folder: Path) -> AsyncIterator[BatchResult]:
        """The results of a batch."""
        for file in status.files:
            for line in documents_in(await self._fetched(batch_id, file.results, folder)):
                yield self._result(line)

    async def cancel(self, batch_id: str) -> None:
        """Ask that no further request is worked on."""
        await self._client.post(f"/messages/batches/{quote(batch_id, safe='')}/cancel")

    async def _fetched(self, batch_id: str, results: int, folder: Path) -> Path:
        # By id, not by the address that the provider names, which might lead the key elsewhere.
        path = f"/messages/batches/{quote(batch_id, safe='')}/results"
        return await self._client.fetched(path, folder / "results.jsonl", results)

    async def _is_marked(self, batch: dict[str, Any], mark: str) -> bool | None:
        """Whether the ids of a batch that has ended begin so; None when it has no results, which have the ids."""
        batch_id = str(batch["id"])
        with tempfile.TemporaryDirectory() as folder:
            try:
                file = await self._fetched(batch_id, sum(_counts(batch).values()), Path(folder))
            except RefusedError as error:
                message = f"the results of {batch_id} cannot be read: {error.findings[0].message}"
                raise NotToldError(message) from None
            except ModelUnavailableError as error:
                raise NotToldYetError(error.findings[0].message) from None
            marked = [str(line.get("custom_id")).startswith(mark) for line in documents_in(file)]
            return any(marked) if marked else None

    def _result(self, line: dict[str, Any]) -> BatchResult:
        custom_id = str(line.get("custom_id"))
        found = line.get("result")
        result: dict[str, Any] = found if isinstance(found, dict) else {}
        told = str(result.get("type"))
        if told == "succeeded":
            return BatchResult(custom_id, "succeeded", result.get("message"))
        kind = _KINDS.get(told, "errored")
        error = result.get("error")
        inner = error.get("error", error) if isinstance(error, dict) else {}
        word, message = str(inner.get("type") or told), str(inner.get("message") or f"the request is {told}")
        may_succeed = kind == "expired" or (kind == "errored" and word in _PASSING)
        return BatchResult(custom_id, kind, None, self._client.redacted(f"{word}: {message}" if inner else message), may_succeed)


def _counts(batch: dict[str, Any]) -> dict[str, int]:
    """How many requests there are of each kind. Those that are not done yet count, too."""
    counts = batch.get("request_counts")
    return {name: count for name, count in counts.items() if isinstance(count, int)} if isinstance(counts, dict) else {}


def _may_be(batch: dict[str, Any], sought: Sought) -> bool:
    """Whether a batch is as large as the one that is sought, and was created when that one was, as far as it says."""
    created_at = _time_in(batch, "created_at") or sought.since
    is_of_the_time = sought.since - _CLOCKS_DIFFER_S <= created_at <= sought.until + _CLOCKS_DIFFER_S
    return is_of_the_time and sum(_counts(batch).values()) == sought.requests


def _time_in(batch: dict[str, Any], name: str) -> float | None:
    """A time, in seconds since 1970; None when the batch does not say."""
    try:
        return datetime.fromisoformat(str(batch.get(name))).timestamp()
    except ValueError:
        return None
