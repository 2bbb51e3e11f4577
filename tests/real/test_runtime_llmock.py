"""The runtime against a server nobody here wrote, which counts what it is asked and fails as it is told."""

import json
import select
import socket
import socketserver
import threading
import time
from collections import Counter
from typing import Literal

import pytest

from xcs_airflow.errors import ModelError, ModelUnavailableError
from xcs_airflow.ir import CachePolicy, Graph, LLMMetadata, LLMOperation, Operation, Ref
from xcs_airflow.manifest import CacheRule, ModelCall
from xcs_airflow.plan.lower import lower
from xcs_airflow.runtime import ModelRoute, RuntimeSettings, main, read_output, run_task, run_usage
from xcs_airflow.runtime.calls import answer_many
from xcs_airflow.values import Hole, Message, Prompt

pytestmark = pytest.mark.real

TEAM = {"enum": ["billing", "bug", "other"], "type": "string"}


@pytest.fixture
def settings(tmp_path, llmock, monkeypatch):
    monkeypatch.setenv("LLMOCK_KEY", "sk-test")
    route = ModelRoute(endpoint=f"{llmock.url}/v1", key_env="LLMOCK_KEY", timeout_s=20)
    return RuntimeSettings(store=tmp_path / "store", models={"openai": route})


class Wire(socketserver.ThreadingTCPServer):
    """The way to the server, which breaks as often as it is told: the server has answered, and nobody reads it."""

    daemon_threads = True

    def __init__(self, url):
        super().__init__(("127.0.0.1", 0), Exchange)
        self.upstream = int(url.rpartition(":")[2])
        self.breaks = 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class Exchange(socketserver.BaseRequestHandler):
    def handle(self):
        with socket.create_connection(("127.0.0.1", self.server.upstream)) as upstream:
            ends = {self.request: upstream, upstream: self.request}
            while True:
                for end in select.select([*ends], [], [])[0]:
                    data = end.recv(1 << 16)
                    if not data:
                        return
                    if self.server.breaks and data.startswith(b"HTTP/1.1 200 "):
                        self.server.breaks -= 1
                        return
                    ends[end].sendall(data)


@pytest.fixture
def wire(llmock):
    with Wire(llmock.url) as wire:
        thread = threading.Thread(target=wire.serve_forever, args=(0.01,))
        thread.start()
        yield wire
        wire.shutdown()
        thread.join()


@pytest.fixture
def ask(settings):
    def ask(texts, *, in_flight=8, settings=settings, **changes):
        prompt = Prompt(messages=(Message(parts=(Hole(input="text"),)),))
        call = ModelCall(**{"model": "openai/gpt-4.1-mini", "prompt": prompt, "temperature": 0, "max_tokens": 16, **changes})
        return answer_many(call, [{"text": text} for text in texts], cache=CacheRule(), in_flight=in_flight, settings=settings)

    return ask


def test_the_server_counts_as_many_requests_as_there_are_different_prompts(ask, llmock):
    texts = [f"ticket {index % 60}" for index in range(200)]
    first = ask(texts)
    assert first[7] == "Hello! You said: ticket 7"
    assert Counter(llmock.prompts()) == Counter(set(texts))
    assert ask(texts) == first
    assert len(llmock.requests) == 60


def test_answers_of_a_type_come_as_values(ask, llmock):
    assert set(ask(["a", "b"], output_schema=TEAM)) <= {"billing", "bug", "other"}
    record = {"type": "object", "properties": {"urgency": {"enum": ["low", "high"]}, "count": {"type": "integer"}}, "required": ["urgency"]}
    (answer,) = ask(["a"], output_schema=record)
    assert answer["urgency"] in ("low", "high")
    assert llmock.requests[-1]["body"]["response_format"]["json_schema"]["strict"] is True


def test_errors_that_pass_are_waited_for(ask, llmock):
    llmock.script({"type": "fail", "status": 500, "times": 2}, {"type": "fail", "status": 429, "times": 3, "retry_after": 0.2})
    texts = [f"ticket {index}" for index in range(20)]
    assert ask(texts) == [f"Hello! You said: {text}" for text in texts]
    statuses = Counter(request["status"] for request in llmock.requests)
    assert statuses == {200: 20, 429: 3, 500: 2}
    assert Counter(llmock.prompts()) == Counter(texts)


def test_a_server_that_says_when_is_not_asked_before(ask, llmock):
    llmock.script({"type": "fail", "status": 429, "times": 1, "retry_after": 1})
    ask(["a"], in_flight=1)
    refused, answered = llmock.requests
    assert (refused["status"], answered["status"]) == (429, 200)
    assert answered["started_at"] - refused["ended_at"] >= 1


def test_a_server_that_stays_down_is_worth_another_try_later(ask, llmock, monkeypatch):
    monkeypatch.setattr("xcs_airflow.runtime.line.backoff_s", lambda attempt: 0.0)
    llmock.script({"type": "fail", "status": 503, "times": None, "retry_after": 0.01})
    with pytest.raises(ModelUnavailableError, match="HTTP 503"):
        ask(["a", "b"])
    llmock.ask("DELETE", "scenario")
    assert ask(["a", "b"]) == ["Hello! You said: a", "Hello! You said: b"]


def test_a_refused_key_is_final_and_asked_once_per_call_in_flight(ask, llmock):
    llmock.script({"type": "fail", "status": 401, "times": None, "message": "Incorrect API key provided: sk-test"})
    with pytest.raises(ModelError) as caught:
        ask([str(index) for index in range(500)], in_flight=4)
    assert not caught.value.retryable
    assert "sk-test" not in str(caught.value)
    assert len(llmock.requests) <= 4


def test_one_bad_row_leaves_the_others_their_answers(ask, llmock):
    llmock.script({"type": "fail", "status": 400, "times": 1})
    texts = [f"ticket {index}" for index in range(30)]
    with pytest.raises(ModelError, match="1 of 30 calls failed"):
        ask(texts)
    assert len(llmock.requests) == 30
    ask(texts)
    assert len(llmock.requests) == 31


def test_calls_begin_no_faster_than_the_route_allows(ask, settings, llmock):
    route = settings.models["openai"].model_copy(update={"requests_per_minute": 600})
    ask([str(index) for index in range(6)], settings=settings.model_copy(update={"models": {"openai": route}}))
    began = sorted(request["started_at"] for request in llmock.requests)
    assert began[-1] - began[0] >= 0.4


def test_a_pipeline_runs_as_a_platform_would_run_it(llmock, tmp_path, monkeypatch, settings):
    """Tasks as processes would start them, twice: the second run asks nothing, as the server counts."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "shop.py").write_text(
        "def load():\n    return [f'ticket {index % 25}' for index in range(40)]\n\ndef report(**inputs):\n    return inputs\n"
    )
    (tmp_path / "manifest.json").write_text(json.dumps(lower(shop()).to_dict()))
    route = settings.models["openai"].model_dump(exclude_defaults=True)
    monkeypatch.setenv("XCS_MODELS", json.dumps({"openai": route}))
    monkeypatch.setenv("XCS_STORE", settings.store)
    for run in ("1", "2"):
        for task in lower(shop()).tasks:
            for shard in range(task.shards):
                option = ["--shard", f"{shard}/{task.shards}"] if task.shards > 1 else []
                assert main(["--manifest", str(tmp_path / "manifest.json"), "--task", task.id, "--run", run, *option]) == 0
        assert len(llmock.requests) == 50
    assert Counter(llmock.prompts()).most_common(1)[0][1] == 1
    output = [read_output(lower(shop()), run_id=run, settings=settings) for run in ("1", "2")]
    assert output[0] == output[1]
    assert output[0]["lines"][3] == "Hello! You said: Summarise: ticket 3"
    usage = [run_usage(settings, "shop", run).total for run in ("1", "2")]
    assert [(used.rows, used.calls, used.duplicates, used.hits) for used in usage] == [(80, 50, 30, 0), (80, 0, 0, 80)]
    assert usage[0].list_cost_usd == usage[0].billed_cost_usd > 0


def test_a_model_that_fails_in_every_way_costs_no_answer(llmock, wire, tmp_path, monkeypatch, settings):
    """Limits, errors, broken connections and silence, while a pipeline runs; the books know what each may have cost."""
    monkeypatch.setattr("xcs_airflow.runtime.line.backoff_s", lambda attempt: 0.01)
    (tmp_path / "shop.py").write_text(
        "def load():\n    return [f'ticket {index}' for index in range(30)]\n\ndef report(**inputs):\n    return inputs\n"
    )
    route = settings.models["openai"].model_copy(update={"endpoint": f"{wire.url}/v1", "timeout_s": 2})
    patient = settings.model_copy(update={"models": {"openai": route}, "code": tmp_path})
    llmock.script(
        {"type": "fail", "status": 500, "times": 3},
        {"type": "fail", "status": 429, "times": 4, "retry_after": 0.1},
        {"type": "delay", "seconds": 4, "times": 2},
        {"type": "fail", "status": 503, "times": 2},
    )
    wire.breaks = 3
    manifest = lower(shop())
    for task in manifest.tasks:
        run_task(manifest, task.id, run_id="1", settings=patient)
    output = read_output(manifest, run_id="1", settings=patient)
    assert output["lines"] == [f"Hello! You said: Summarise: ticket {index}" for index in range(30)]
    used = run_usage(patient, "shop", "1").total
    # What was given up on is noted by the server when it is done with it.
    ends = time.monotonic() + 20
    while len(llmock.requests) < 74 and time.monotonic() < ends:
        time.sleep(0.05)
    assert Counter(request["status"] for request in llmock.requests) == {200: 65, 429: 4, 500: 3, 503: 2}
    assert (used.calls, used.refused, used.possibly_billed, used.discarded) == (60, 9, 5, 0)


def shop():
    def asking(name, text, schema=None):
        return LLMOperation(
            id=name,
            prompt=Prompt(messages=(Message(parts=(text, Hole(input="ticket"))),)),
            inputs={"ticket": Ref(operation="load")},
            map_over=("ticket",),
            metadata=LLMMetadata(model="openai/gpt-4.1-mini", temperature=0, max_tokens=16),
            output_schema=schema,
            cache=CachePolicy(),
            batch={"group": "openai", "in_flight": 8},
        )

    operations = [
        Operation(id="load", func="shop:load"),
        asking("classify", "Which team? ", TEAM),
        asking("summarise", "Summarise: "),
        Operation(id="report", func="shop:report", inputs={"teams": Ref(operation="classify"), "lines": Ref(operation="summarise")}),
    ]
    return Graph(operations, name="shop", output=Ref(operation="report"))


def test_the_literal_of_the_tests_is_the_schema_of_a_literal():
    from pydantic import TypeAdapter  # noqa: PLC0415

    assert TypeAdapter(Literal["billing", "bug", "other"]).json_schema() == TEAM
