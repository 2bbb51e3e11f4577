"""dspy's cache, memory before disk as it is by default, and a hit through a call of its language model."""

from __future__ import annotations

import os
import tempfile

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
folder = tempfile.TemporaryDirectory()
os.environ["DSPY_CACHEDIR"] = folder.name

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import dspy
from answers import answer, prompt, run


class Model(BaseHTTPRequestHandler):
    """Answers what the cache is filled with."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or every answer waits 40 ms for an acknowledgement

    def do_POST(self) -> None:
        """One chat completion."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = body["messages"][0]["content"]
        message = {"role": "assistant", "content": answer(int(text.split("ticket ")[1].split(":")[0]))}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        document = {"id": "1", "object": "chat.completion", "created": 1, "model": "stub", "choices": [choice], "usage": usage}
        data = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
threading.Thread(target=server.serve_forever, daemon=True).start()
model = dspy.LM("openai/stub", api_key="x", api_base=f"http://127.0.0.1:{server.server_port}/v1", temperature=0, max_tokens=200)


def ask(index: int) -> str:
    """A call that users make."""
    found = model(prompt(index))[0]
    return found if isinstance(found, str) else found["text"]


def fill(count: int) -> None:
    """Through the call, for dspy has no other way in."""
    for index in range(count):
        ask(index)


run(fill, call=ask)
