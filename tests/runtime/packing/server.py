"""A server that reads packed requests as a model would, and misbehaves as it is told."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ITEMS = '\n\n[{"id": '


def answer_to(text):
    """What the server answers to a ticket: the same, asked alone or in a pack."""
    return f"TEAM OF {text.rpartition('Ticket: ')[2]}"


def items_in(content):
    """The items of a packed request; a line never ends inside of them."""
    return json.loads(content[content.index(ITEMS) :])


class Text:
    """A whole answer, instead of entries."""

    def __init__(self, text, finish_reason="stop"):
        self.text = text
        self.finish_reason = finish_reason


class PackServer(ThreadingHTTPServer):
    """Answers chat completions.

    Attributes:
        packs: The items of every packed request.
        singles: The last message of every other request.
        bodies: Every request.
        script: What is done to the entries of each packed request, in order; afterwards they are left as they are.
        answers: What is answered to a text.
        refuses: Whether a pack is refused with status 400.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Exchange)
        self.packs = []
        self.singles = []
        self.bodies = []
        self.script = []
        self.answers = answer_to
        self.refuses = lambda items: False
        self.lock = threading.Lock()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    @property
    def calls(self):
        return len(self.bodies)

    def reply(self, body):
        """Status, text and reason of the answer."""
        self.bodies.append(body)
        content = body["messages"][-1]["content"]
        if ITEMS not in content:
            self.singles.append(content)
            said = self.answers(content)
            return 200, said if isinstance(said, Text) else Text(said)
        items = items_in(content)
        self.packs.append([item["input"] for item in items])
        if self.refuses(items):
            return 400, Text("too long")
        entries = [{"id": item["id"], "answer": self.answers(item["input"])} for item in items]
        step = self.script.pop(0) if self.script else list
        entries = step(entries)
        return 200, entries if isinstance(entries, Text) else Text(json.dumps({"answers": entries}))


class _Exchange(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            status, said = self.server.reply(body)
        document = {
            "model": "x",
            "choices": [{"message": {"content": said.text}, "finish_reason": said.finish_reason}],
            "usage": {"prompt_tokens": 101, "completion_tokens": 53},
        }
        data = json.dumps(document if status == 200 else {"error": {"message": said.text}}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass
