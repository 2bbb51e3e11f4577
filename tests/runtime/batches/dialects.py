"""How the two providers speak of batches: their documents, and what they refuse.

The documents are those of platform.openai.com/docs/api-reference/batch and platform.claude.com/docs/en/api/creating-message-batches.
It knows documents; what becomes of a batch is the server's.
"""

from __future__ import annotations

import email
import email.policy
import json
import re
from collections import Counter
from datetime import UTC, datetime

from .fates import BILLED, prompt_of

PREFIX_TOKENS = 5000
"""How many tokens the prompt cache takes or finds, whatever a request marks."""


class OpenAI:
    """`/files` and `/batches`."""

    def __init__(self, server):
        self.server = server

    def upload(self, _, body, __, headers):
        form = email.message_from_bytes(b"Content-Type: " + headers["Content-Type"].encode() + b"\r\n\r\n" + body, policy=email.policy.HTTP)
        parts = {part.get_param("name", header="content-disposition"): part.get_payload(decode=True) for part in form.iter_parts()}
        assert parts["purpose"] == b"batch"
        name = self.server.name("file")
        self.server.files[name] = parts["file"]
        return 200, {"id": name, "object": "file", "bytes": len(parts["file"]), "purpose": "batch", "filename": "requests.jsonl"}

    def create(self, _, body, __, ___):
        asked = json.loads(body)
        assert asked["completion_window"] == "24h"
        requests = [json.loads(line) for line in self.server.files[asked["input_file_id"]].splitlines()]
        assert {(request["method"], request["url"]) for request in requests} == {("POST", asked["endpoint"])}
        assert len({request["body"]["model"] for request in requests}) == 1
        assert_ids(requests)
        batch = self.server.add(requests, asked.get("metadata"), asked["input_file_id"])
        return 200, self._document(batch)

    def list(self, _, __, query, ___):
        return 200, listed(self.server, query, "after", self._document)

    def status(self, which, *_):
        batch = self.server.batches.get(which)
        if batch is None:
            return 404, {"error": {"message": f"No batch found with id '{which}'.", "type": "invalid_request_error"}}
        self.server.look(batch)
        return 200, self._document(batch)

    def cancel(self, which, *_):
        batch = self.server.batches[which]
        if batch.state != "in_progress":
            return 409, {"error": {"message": f"Cannot cancel a batch with status '{self._document(batch)['status']}'."}}
        batch.is_cancelled = True
        return 200, self._document(batch)

    def results(self, which, *_):
        if which in self.server.files:
            return 200, self.server.files[which]
        kind, _, name = which.partition("-")
        lines = self.server.lines(self.server.batches[name], self._line)
        good = [line for line in lines if line["response"] and line["response"]["status_code"] == 200]
        chosen = good if kind == "output" else [line for line in lines if line not in good]
        return 200, b"".join(json.dumps(line).encode() + b"\n" for line in chosen)

    def _document(self, batch):
        fates = Counter(batch.fates.values())
        completed = sum(fates[name] for name in BILLED)
        failed = len(batch.requests) - completed - fates["missing"]
        ended = batch.state == "ended"
        status = {"ended": "expired" if fates["expired"] else "cancelled" if batch.is_cancelled else "completed"}.get(
            batch.state, batch.state
        )
        return {
            "id": batch.id,
            "object": "batch",
            "endpoint": "/v1/chat/completions",
            "input_file_id": batch.input_file,
            "completion_window": "24h",
            "status": "cancelling" if batch.is_cancelled and not ended else status,
            "errors": {"object": "list", "data": batch.errors} if batch.errors else None,
            "output_file_id": f"output-{batch.id}" if ended and completed else None,
            "error_file_id": f"error-{batch.id}" if ended and failed else None,
            "created_at": int(batch.created_at),
            "completed_at": int(batch.ended_at or batch.created_at) if ended else None,
            "request_counts": {"total": len(batch.requests), "completed": completed * ended, "failed": failed * ended},
            "metadata": batch.metadata,
        }

    def _line(self, fate, request, _):
        line = {"id": f"batch_req_{request['custom_id'][-6:]}", "response": None, "error": None}
        if fate in ("expired", "cancelled"):
            words = {"expired": "could not be executed before the completion window expired", "cancelled": "was cancelled"}
            return {**line, "error": {"code": f"batch_{fate}", "message": f"This request {words[fate]}."}}
        status, body = 200, self._completion(fate, request)
        if fate in ("errored", "busy"):
            status = {"errored": 400, "busy": 500}[fate]
            body = {"error": {"message": f"told to be {fate}", "type": "invalid_request_error" if fate == "errored" else "server_error"}}
        return {**line, "response": {"status_code": status, "request_id": "req", "body": body}}

    def _completion(self, fate, request):
        message = {"role": "assistant", "content": answer_of(self.server, fate, request)}
        if fate == "refused":
            message = {"role": "assistant", "content": None, "refusal": "I cannot answer that."}
        usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return {"id": "chatcmpl-1", "object": "chat.completion", "model": request["body"]["model"], "choices": [choice], "usage": usage}


class Anthropic:
    """`/messages/batches`."""

    def __init__(self, server):
        self.server = server

    def create(self, _, body, __, headers):
        assert headers["anthropic-version"]
        requests = json.loads(body)["requests"]
        assert all(request["params"]["max_tokens"] > 0 for request in requests)
        assert_ids(requests)
        return 200, self._document(self.server.add(requests, None, None))

    def list(self, _, __, query, ___):
        return 200, listed(self.server, query, "after_id", self._document)

    def status(self, which, *_):
        batch = self.server.batches.get(which)
        if batch is None:
            return 404, {"type": "error", "error": {"type": "not_found_error", "message": f"{which} not found"}}
        self.server.look(batch)
        return 200, self._document(batch)

    def cancel(self, which, *_):
        batch = self.server.batches[which]
        if batch.state != "in_progress":
            message = f"Batch {which} cannot be canceled because it has already finished processing"
            return 400, {"type": "error", "error": {"type": "invalid_request_error", "message": message}}
        batch.is_cancelled = True
        return 200, self._document(batch)

    def results(self, which, *_):
        batch = self.server.batches[which]
        if batch.state != "ended":
            return 404, {"type": "error", "error": {"type": "not_found_error", "message": "results are not available yet"}}
        return 200, b"".join(json.dumps(line).encode() + b"\n" for line in self.server.lines(batch, self._line))

    def _document(self, batch):
        kinds = Counter(_TYPES[fate] for fate in batch.fates.values())
        ended = batch.state == "ended"
        counts = {name: kinds[name] for name in ("succeeded", "errored", "canceled", "expired")}
        counts["processing"] = 0 if ended else len(batch.requests)
        created = datetime.fromtimestamp(batch.created_at, UTC).isoformat().replace("+00:00", "Z")
        return {
            "id": batch.id,
            "type": "message_batch",
            "processing_status": "ended" if ended else "canceling" if batch.is_cancelled else "in_progress",
            "request_counts": counts,
            "created_at": created,
            "ended_at": datetime.fromtimestamp(batch.ended_at or batch.created_at, UTC).isoformat() if ended else None,
            "results_url": f"{self.server.url}/messages/batches/{batch.id}/results" if ended else None,
        }

    def _line(self, fate, request, cached):
        kind = _TYPES[fate]
        if kind == "succeeded":
            return {"result": {"type": kind, "message": self._message(fate, request, cached)}}
        if kind == "errored":
            word = "invalid_request_error" if fate == "errored" else "overloaded_error"
            error = {"type": "error", "error": {"type": word, "message": f"told to be {fate}"}}
            return {"result": {"type": kind, "error": error}}
        return {"result": {"type": kind}}

    def _message(self, fate, request, cached):
        content = [{"type": "text", "text": answer_of(self.server, fate, request)}]
        reason = "end_turn"
        if fate == "refused":
            content, reason = [], "refusal"
        usage = {"input_tokens": 10, "output_tokens": 2}
        if cached == "written":
            usage |= {"cache_creation_input_tokens": PREFIX_TOKENS, "cache_creation": {"ephemeral_1h_input_tokens": PREFIX_TOKENS}}
        elif cached == "read":
            usage["cache_read_input_tokens"] = PREFIX_TOKENS
        model = request["params"]["model"]
        return {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": content,
            "stop_reason": reason,
            "usage": usage,
        }


_TYPES = {
    **dict.fromkeys(BILLED, "succeeded"),
    **dict.fromkeys(("errored", "busy"), "errored"),
    "expired": "expired",
    "cancelled": "canceled",
    "missing": "succeeded",  # it counts, and has no line
}


def answer_of(server, fate, request):
    return "{" if fate == "unfit" else server.answer(prompt_of(request))


def assert_ids(requests):
    ids = [request["custom_id"] for request in requests]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) for name in ids)


def listed(server, query, cursor, document):
    """One page, the newest first. What was created just now is not always there yet."""
    shown = []
    for batch in reversed(server.batches.values()):
        if batch.listed >= server.lag:
            server.look(batch)
            shown.append(batch)
        batch.listed += 1
    after = query.get(cursor, [None])[0]
    if after is not None:
        shown = shown[[batch.id for batch in shown].index(after) + 1 :]
    size = min(int(query["limit"][0]), server.page)
    page = [document(batch) for batch in shown[:size]]
    return {"object": "list", "data": page, "has_more": len(shown) > size, "first_id": page[0]["id"] if page else None}
