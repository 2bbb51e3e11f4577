"""A server of our own that speaks both batch APIs, fails as it is told, and counts what every prompt was billed.

The documents are those of platform.openai.com/docs/api-reference/batch and platform.claude.com/docs/en/api/creating-message-batches.
"""

from __future__ import annotations

import email
import email.policy
import json
import random
import re
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

FATES = ("succeeded", "unfit", "refused", "errored", "busy", "expired", "cancelled", "missing", "twice")
"""What can become of a request here: an answer; one that does not fit; a refusal; an error for good, or for now; no time left;
cancelled; no line at all; two lines."""

BILLED = ("succeeded", "unfit", "refused", "twice")

_ROUTES = (
    ("POST", r"/v1/files", "upload"),
    ("GET", r"/v1/files/(?P<name>[^/]+)/content", "results"),
    ("POST", r"/v1/batches", "create"),
    ("GET", r"/v1/batches", "list"),
    ("GET", r"/v1/batches/(?P<name>[^/]+)", "status"),
    ("POST", r"/v1/batches/(?P<name>[^/]+)/cancel", "cancel"),
    ("POST", r"/v1/messages/batches", "create"),
    ("GET", r"/v1/messages/batches", "list"),
    ("GET", r"/v1/messages/batches/(?P<name>[^/]+)", "status"),
    ("GET", r"/v1/messages/batches/(?P<name>[^/]+)/results", "results"),
    ("POST", r"/v1/messages/batches/(?P<name>[^/]+)/cancel", "cancel"),
)


@dataclass
class Batch:
    """One batch, as the provider has it."""

    id: str
    requests: list
    metadata: dict | None
    input_file: str | None
    created_at: float
    looks: int = 0
    listed: int = 0
    state: str = "in_progress"
    is_cancelled: bool = False
    fates: dict = field(default_factory=dict)
    errors: list | None = None


class BatchServer(ThreadingHTTPServer):
    """Both batch APIs on a free port of this machine.

    Attributes:
        billed: How often every prompt was billed.
        asked: How many requests came to every endpoint, by its name in `_ROUTES`.
        faults: What to do with the next requests to an endpoint, in order: a status; "lost" does what is asked and answers nothing;
            "unheard" answers nothing and does nothing; "torn" ends in the middle of the answer; "short" does so and looks well.
        fate: Gives, for a prompt and how often it was there before, what becomes of it.
        looks: After how many questions for its status a batch has ended.
        lag: How many lists do not show a new batch.
        keeps_metadata: Whether batches remember what the caller says about them.
        failing: Errors with which the next batches fail as a whole, in order; None lets one through.
        answer: Gives the answer to a prompt.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Exchange)
        self.lock = threading.RLock()
        self.files = {}
        self.batches = {}
        self.billed = Counter()
        self.seen = Counter()
        self.asked = Counter()
        self.faults = {name: [] for _, _, name in _ROUTES}
        self.fate = lambda prompt, before: "succeeded"
        self.answer = str.upper
        self.looks = 1
        self.lag = 0
        self.keeps_metadata = True
        self.failing = []
        self.page = 100
        self.names = 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def models(self, **route):
        """`XCS_MODELS` that lead here, for both providers."""
        return {"openai": {"endpoint": self.url, **route}, "anthropic": {"endpoint": self.url, "protocol": "anthropic", **route}}

    def name(self, kind):
        self.names += 1
        return f"{kind}_{self.names:04}"

    def add(self, requests, metadata, input_file):
        batch = Batch(self.name("batch"), requests, metadata if self.keeps_metadata else None, input_file, time.time())
        failing = self.failing.pop(0) if self.failing else None
        if failing is not None:
            batch.state, batch.errors = "failed", [failing]
        self.batches[batch.id] = batch
        return batch

    def look(self, batch):
        """Time passes for a batch whenever somebody asks how far it is."""
        batch.looks += 1
        if batch.state == "in_progress" and (batch.is_cancelled or batch.looks >= self.looks):
            self.finish(batch)

    def finish(self, batch):
        """Work is over: every request has its fate, and what has an answer is billed."""
        batch.state = "ended"
        for request in batch.requests:
            prompt = prompt_of(request)
            fate = self.fate(prompt, self.seen[prompt])
            self.seen[prompt] += 1
            batch.fates[request["custom_id"]] = fate
            self.billed[prompt] += fate in BILLED

    def lines(self, batch, describe):
        """The lines of results, in an order of their own."""
        lines = []
        for request in batch.requests:
            fate = batch.fates[request["custom_id"]]
            if fate != "missing":
                lines += [{"custom_id": request["custom_id"], **describe(fate, request)}] * (2 if fate == "twice" else 1)
        random.Random(batch.id).shuffle(lines)
        return lines

    def handle_error(self, request, client_address):
        pass


class _Exchange(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self._handle("POST")

    def do_GET(self):
        self._handle("GET")

    def log_message(self, *args):
        pass

    def _handle(self, method):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) if "chunked" not in self._coding() else self._chunks()
        address = urlsplit(self.path)
        for verb, pattern, name in _ROUTES:
            match = re.fullmatch(pattern, address.path)
            if match and verb == method:
                api = Anthropic if address.path.startswith("/v1/messages") else OpenAI
                with self.server.lock:
                    self.server.asked[name] += 1
                    fault = self.server.faults[name].pop(0) if self.server.faults[name] else None
                    done = self._done(api, name, match.groupdict().get("name"), body, parse_qs(address.query), fault)
                return self._reply(*done, fault)
        return self._reply(404, {"error": {"message": f"no such path: {method} {address.path}"}}, None)

    def _done(self, api, name, which, body, query, fault):
        if isinstance(fault, int):
            return fault, {"error": {"message": f"told to answer {fault}", "type": "api_error"}}
        if fault == "unheard":
            return None, None
        return getattr(api(self.server), name)(which, body, query, self.headers)

    def _coding(self):
        return self.headers.get("Transfer-Encoding", "")

    def _chunks(self):
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _reply(self, status, content, fault):
        if fault in ("lost", "unheard"):
            self.close_connection = True
            return
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        if fault == "short":
            self.send_header("Connection", "close")
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if fault in ("torn", "short") else data)
        self.close_connection |= fault == "torn"


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
            "request_counts": {"total": len(batch.requests), "completed": completed * ended, "failed": failed * ended},
            "metadata": batch.metadata,
        }

    def _line(self, fate, request):
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
            "results_url": f"{self.server.url}/messages/batches/{batch.id}/results" if ended else None,
        }

    def _line(self, fate, request):
        kind = _TYPES[fate]
        if kind == "succeeded":
            return {"result": {"type": kind, "message": self._message(fate, request)}}
        if kind == "errored":
            word = "invalid_request_error" if fate == "errored" else "overloaded_error"
            error = {"type": "error", "error": {"type": word, "message": f"told to be {fate}"}}
            return {"result": {"type": kind, "error": error}}
        return {"result": {"type": kind}}

    def _message(self, fate, request):
        content = [{"type": "text", "text": answer_of(self.server, fate, request)}]
        reason = "end_turn"
        if fate == "refused":
            content, reason = [], "refusal"
        usage = {"input_tokens": 10, "output_tokens": 2}
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


def prompt_of(request):
    """The first thing a request asks, whatever came after it."""
    return (request.get("body") or request.get("params"))["messages"][0]["content"]


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


@contextmanager
def serving():
    """A server that answers while the block runs."""
    with BatchServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
