"""A server of our own with both batch APIs, which fails as it is told, and counts what every prompt was billed.

It knows batches, faults and time; `dialects.py` knows what each provider says.
"""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from .dialects import Anthropic, OpenAI
from .fates import BILLED, mark_of, prompt_of

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
    ended_at: float | None = None
    cached: dict = field(default_factory=dict)


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
        kept: What the prompt cache has. The requests of a batch find there what earlier batches wrote, and not what each other does.
        looked_up: How many billed requests with a mark were read from there, and how many written.
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
        self.kept = set()
        self.looked_up = Counter()
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
        batch.state, batch.ended_at = "ended", time.time()
        before = set(self.kept)
        for request in batch.requests:
            prompt = prompt_of(request)
            fate = self.fate(prompt, self.seen[prompt])
            self.seen[prompt] += 1
            batch.fates[request["custom_id"]] = fate
            self.billed[prompt] += fate in BILLED
            mark = mark_of(request)
            if mark is not None and fate in BILLED:
                kind = batch.cached[request["custom_id"]] = "read" if mark[0] in before else "written"
                self.looked_up[kind] += 1
                self.kept.add(mark[0])

    def lines(self, batch, describe):
        """The lines of results, in an order of their own."""
        lines = []
        for request in batch.requests:
            fate = batch.fates[request["custom_id"]]
            if fate != "missing":
                line = describe(fate, request, batch.cached.get(request["custom_id"]))
                lines += [{"custom_id": request["custom_id"], **line}] * (2 if fate == "twice" else 1)
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
