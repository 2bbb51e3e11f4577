"""A provider of batches on loopback that takes its time, and a pipeline that waits for it.

A batch ends when it has been asked about so many times. It knows OpenAI's documents (platform.openai.com/docs/api-reference/batch) as far
as a batch that goes well needs them.
"""

import json
import threading
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from xcs_airflow.ir import BatchPolicy, Graph, Hole, LLMMetadata, LLMOperation, Message, Operation, Prompt, Ref, Retry
from xcs_airflow.plan.cloud_graph import Wait


class SlowBatches(ThreadingHTTPServer):
    """The server's state.

    Attributes:
        looks: After how many questions a batch has ended.
        is_down: Whether it refuses every request for good.
        batches_are_gone: Whether it knows nothing of its batches.
        asked: How often each batch was asked about.
        prompts: Every prompt of every batch.
    """

    daemon_threads = True

    def __init__(self, looks):
        super().__init__(("127.0.0.1", 0), _Exchange)
        self.looks = looks
        self.is_down = False
        self.batches_are_gone = False
        self.asked = Counter()
        self.prompts = []
        self.files = {}
        self.batches = {}

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def keep(self, requests):
        name = f"file-{len(self.files)}"
        self.files[name] = requests
        return {"id": name}

    def create(self, document):
        name = f"batch_{len(self.batches)}"
        self.batches[name] = {"id": name, "status": "in_progress", "created_at": 1, **document}
        self.prompts += [request["body"]["messages"][-1]["content"] for request in self.files[document["input_file_id"]]]
        return self.batches[name]

    def look_at(self, name):
        if self.batches_are_gone:
            raise KeyError(name)
        self.asked[name] += 1
        batch = self.batches[name]
        if self.asked[name] >= self.looks and batch["status"] == "in_progress":
            answers = [_answered(request) for request in self.files[batch["input_file_id"]]]
            batch.update(status="completed", output_file_id=self.keep(answers)["id"])
        return batch


class _Exchange(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self._body()
        if self.path == "/v1/files":
            lines = [line for line in body.splitlines() if line.startswith(b"{")]
            return self._reply(lambda: self.server.keep([json.loads(line) for line in lines]))
        return self._reply(lambda: self.server.create(json.loads(body)))

    def do_GET(self):
        _, _, _, name, *rest = self.path.split("/")
        if rest:
            return self._reply(lambda: b"".join(json.dumps(line).encode() + b"\n" for line in self.server.files[name]))
        return self._reply(lambda: self.server.look_at(name))

    def log_message(self, *args):
        pass

    def _body(self):
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _reply(self, answer):
        try:
            status, document = (401, {"error": {"message": "who are you?"}}) if self.server.is_down else (200, answer())
        except KeyError as name:
            status, document = 404, {"error": {"message": f"there is no {name}"}}
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _answered(request):
    body = request["body"]
    message = {"role": "assistant", "content": body["messages"][-1]["content"].upper()}
    usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    completion = {"id": "c", "object": "chat.completion", "model": body["model"], "choices": [choice], "usage": usage}
    return {"custom_id": request["custom_id"], "response": {"status_code": 200, "body": completion}, "error": None}


@contextmanager
def slow_batches(looks):
    """A running provider whose batches end when they have been asked about so many times."""
    with SlowBatches(looks) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def batched():
    """words -> 3 shards of calls that go through the batch API -> say."""
    ask = LLMOperation(
        id="ask",
        prompt=Prompt(messages=(Message(parts=("about ", Hole(input="word"))),)),
        inputs={"word": Ref(operation="words")},
        map_over=("word",),
        shards=3,
        metadata=LLMMetadata(model="openai/gpt-4.1-mini"),
        batch=BatchPolicy(group="ask", mechanism="provider_batch"),
        retry=Retry(attempts=1),
    )
    one = Retry(attempts=1)
    words = Operation(id="words", func="pipeline:words", retry=one)
    say = Operation(id="say", func="pipeline:say", inputs={"answers": Ref(operation="ask")}, retry=one)
    return Graph([words, ask, say], name="batched", output=Ref(operation="say"))


def at_once(plan, waits):
    """The plan with seconds in place of minutes, and so many waits."""
    wait = Wait(every_s=1, at_most_s=2**waits - 1)
    tasks = [task if task.wait is None else task.model_copy(update={"wait": wait}) for task in plan.tasks]
    return plan.model_copy(update={"tasks": tuple(tasks)})
