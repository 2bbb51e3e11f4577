"""A server of our own that answers as it is told, and one request of a model to it."""

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from xcs_airflow.runtime.models import AttemptError, ModelRequest
from xcs_airflow.runtime.models.protocols import opener
from xcs_airflow.runtime.models.routes import Target
from xcs_airflow.runtime.settings import ModelRoute

KEY = "sk-very-secret-0123456789"
MESSAGES = [{"role": "user", "content": "Which team?"}]


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Exchange)
        self.replies = []
        self.requests = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request, client_address):
        pass


class Exchange(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.path, dict(self.headers), json.loads(body)))
        status, headers, content = self.server.replies.pop(0)
        if content is None:
            self.close_connection = True
            return
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class Client:
    """Sends one request at a time, with a key."""

    def __init__(self, server, protocol, answer):
        self.server = server
        self.protocol = protocol
        self.answer = answer

    def __call__(self, reply=None, *, status=200, headers=None, route=None, address=None, messages=MESSAGES, **request):
        self.server.replies.append((status, headers or {}, self.answer() if reply is None else reply))
        fields = {"key_env": "TEST_KEY", "protocol": self.protocol, **(route or {})}
        target = Target("m/x", "m/x", "m", "x", address or self.server.url, ModelRoute(**fields))

        async def exchange():
            async with opener(self.protocol, "m/x")(target, 4) as provider:
                return await provider.complete(ModelRequest("m/x", messages, **request))

        return asyncio.run(exchange())


def failure(complete, *args, **kwargs):
    with pytest.raises(AttemptError) as caught:
        complete(*args, **kwargs)
    assert KEY not in str(caught.value)
    assert len(caught.value.reason) <= 200
    assert "\n" not in caught.value.reason
    return caught.value
