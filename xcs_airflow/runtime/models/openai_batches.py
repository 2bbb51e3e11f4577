"""OpenAI's batch API: a file of requests, a batch that names it, and two files of results.

It knows the documents of `/files` and `/batches` (platform.openai.com/docs/api-reference/batch); it does not know steps or keys.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urlencode, urlsplit

from xcs_airflow.runtime.models.batch import (
    BatchResult,
    BatchStatus,
    FileForm,
    Kind,
    NotToldError,
    ResultFile,
    Sought,
)
from xcs_airflow.runtime.models.batch_client import BatchClient, RefusedError, documents_in
from xcs_airflow.runtime.models.http import count_in
from xcs_airflow.runtime.models.openai_compatible import DIALECT
from xcs_airflow.runtime.models.provider import ModelAnswer, ModelRequest
from xcs_airflow.runtime.models.routes import Target

_MARK = "xcs_batch"
_PAGE = 100
_MOST_PAGES = 50
_CLOCKS_DIFFER_S = 3600
_OK = 200

# platform.openai.com/docs/guides/batch#batch-expiration and the errors of single lines.
_KINDS: dict[str, Kind] = {"batch_expired": "expired", "batch_cancelled": "cancelled"}
_RESTS: dict[str, Kind] = {"expired": "expired", "cancelled": "cancelled", "failed": "errored", "completed": "missing"}
_PASSING = frozenset({"token_limit_exceeded", "rate_limit_exceeded", "server_error"})


@asynccontextmanager
async def opened(target: Target) -> AsyncIterator[OpenAIBatches]:
    """The batch API of a target, ready while the block runs."""
    async with BatchClient.opened(target, DIALECT) as client:
        yield OpenAIBatches(client)


class OpenAIBatches:
    """OpenAI's batch API.

    Args:
        client: The way to it.
    """

    form = FileForm(b"", b"\n", b"\n")

    def __init__(self, client: BatchClient) -> None:
        self._client = client
        self.attempt_s = client.target.route.timeout_s
        version = urlsplit(client.target.address).path.rstrip("/").rpartition("/")[2] or "v1"
        self._endpoint = f"/{version}{DIALECT.path}"

    def line(self, custom_id: str, request: ModelRequest) -> bytes:
        """One request, as it stands in a file."""
        body = DIALECT.body(self._client.target, request)
        return json.dumps({"custom_id": custom_id, "method": "POST", "url": self._endpoint, "body": body}).encode()

    def read(self, document: Any) -> ModelAnswer:
        """The answer in a chat completion."""
        return DIALECT.read(self._client.target, document)

    async def upload(self, file: Path) -> str:
        """Hand over a file of requests; gives its id."""
        import aiohttp  # noqa: PLC0415

        def form(content: IO[bytes]) -> aiohttp.FormData:
            data = aiohttp.FormData({"purpose": "batch"})
            data.add_field("file", content, filename="requests.jsonl", content_type="application/jsonl")
            return data

        return str((await self._client.sent("/files", file, form))["id"])

    async def create(self, file: Path, uploaded: str, mark: str, until: float) -> str:  # noqa: ARG002  # the file is there already
        """Let a file be worked on; gives the batch's id."""
        document = {"input_file_id": uploaded, "endpoint": self._endpoint, "completion_window": "24h", "metadata": {_MARK: mark}}
        return await self._client.created("/batches", json.dumps(document).encode(), until)

    async def find(self, sought: Sought) -> str | None:
        """The id of the batch that was made of a file, or whose metadata have its mark; None when the account has none."""
        after: dict[str, str] = {}
        for _ in range(_MOST_PAGES):
            try:
                page = await self._client.get(f"/batches?{urlencode({'limit': _PAGE, **after})}")
            except RefusedError as error:
                raise NotToldError(error.findings[0].message) from None
            batches = page.get("data") or []
            for batch in batches:
                metadata = batch.get("metadata")
                is_marked = isinstance(metadata, dict) and metadata.get(_MARK) == sought.mark
                if is_marked or batch.get("input_file_id") == sought.uploaded:
                    return str(batch["id"])
            # The newest come first.
            if not page.get("has_more") or not batches or _is_older(batches[-1], sought.since):
                return None
            after = {"after": str(batches[-1]["id"])}
        reason = f"the {_PAGE * _MOST_PAGES} newest batches of the account are all younger"
        raise NotToldError(reason)

    async def status(self, batch_id: str) -> BatchStatus:
        """How far a batch is."""
        batch = await self._client.get(f"/batches/{quote(batch_id, safe='')}")
        state = str(batch.get("status"))
        if state not in _RESTS:
            return BatchStatus(has_ended=False)
        counts = batch.get("request_counts")
        named = {"output_file_id": "completed", "error_file_id": "failed"}
        files = tuple(ResultFile(str(batch[name]), count_in(counts, kind) or 0) for name, kind in named.items() if batch.get(name))
        errors = [error for error in (batch.get("errors") or {}).get("data") or [] if isinstance(error, dict)]
        reason = self._client.redacted("; ".join(str(error.get("message")) for error in errors[:3]) or f"the batch is {state}")
        is_passing = state == "failed" and bool(errors) and all(error.get("code") in _PASSING for error in errors)
        may_succeed = is_passing if state == "failed" else state != "cancelled"
        told = batch.get("completed_at")
        ended_at = float(told) if isinstance(told, (int, float)) else None
        return BatchStatus(True, files, _RESTS[state], reason, may_succeed, is_turned_away=is_passing, ended_at=ended_at)

    async def results(self, batch_id: str, status: BatchStatus, folder: Path) -> AsyncIterator[BatchResult]:  # noqa: ARG002
        """The results of a batch: what succeeded, then what did not."""
        for name, results in status.files:
            file = await self._client.fetched(f"/files/{quote(name, safe='')}/content", folder / "results.jsonl", results)
            for line in documents_in(file):
                yield self._result(line)

    async def cancel(self, batch_id: str) -> None:
        """Ask that no further request is worked on."""
        await self._client.post(f"/batches/{quote(batch_id, safe='')}/cancel")

    def _result(self, line: dict[str, Any]) -> BatchResult:
        custom_id = str(line.get("custom_id"))
        response = line.get("response") if isinstance(line.get("response"), dict) else None
        if response is not None and response.get("status_code") == _OK and not line.get("error"):
            return BatchResult(custom_id, "succeeded", response.get("body"))
        body = response.get("body") if response is not None else None
        error = line.get("error") or (body.get("error") if isinstance(body, dict) else None)
        error = error if isinstance(error, dict) else {"message": error}
        kind = _KINDS.get(str(error.get("code")), "errored")
        status = response.get("status_code") if response is not None else None
        reason = str(error.get("message") or "it gives no reason")
        is_busy = isinstance(status, int) and (status >= 500 or status in (408, 429))  # noqa: PLR2004
        may_succeed = kind == "expired" or (kind == "errored" and (is_busy or error.get("code") in _PASSING))
        return BatchResult(custom_id, kind, None, self._client.redacted(f"HTTP {status}: {reason}" if status else reason), may_succeed)


def _is_older(batch: dict[str, Any], since: float) -> bool:
    created_at = batch.get("created_at")
    return isinstance(created_at, (int, float)) and created_at < since - _CLOCKS_DIFFER_S
