"""What whoever has configured OpenTelemetry sees of tasks and calls, and what nobody sees."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from xcs_airflow.errors import RuntimeTaskError, XcsError
from xcs_airflow.ir import Graph, Operation, Ref
from xcs_airflow.plan.lower import lower
from xcs_airflow.runtime import run_task
from xcs_airflow.runtime.models import AttemptError, ModelAnswer
from xcs_airflow.runtime.settings import ModelRoute
from xcs_airflow.runtime.telemetry import telemetry

from .running import asking, run_all

SECRET = "ticket"
"""It is part of every prompt, and so of every answer of the echo model."""


class Seen:
    """What was told."""

    def __init__(self):
        self.exporter = InMemorySpanExporter()
        self.reader = InMemoryMetricReader()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meters = MeterProvider(metric_readers=[self.reader])

    def spans(self, prefix=""):
        return [span for span in self.exporter.get_finished_spans() if span.name.startswith(prefix)]

    def points(self, name):
        data = self.reader.get_metrics_data()
        found = [metric for resource in data.resource_metrics for scope in resource.scope_metrics for metric in scope.metrics]
        return [point for metric in found if metric.name == name for point in metric.data.data_points]

    @property
    def everything(self):
        spans = "".join(span.to_json() for span in self.spans())
        return spans + (self.reader.get_metrics_data() or metrics).__repr__()


@pytest.fixture
def seen(monkeypatch):
    """An SDK, as if somebody had configured it for the process."""
    seen = Seen()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: seen.tracers)
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: seen.meters)
    yield seen
    seen.tracers.shutdown()
    seen.meters.shutdown()


@pytest.fixture
def manifest(code):
    """Sixty tickets, each asked about."""
    graph = Graph([Operation(id="load", func="pipeline:load"), asking("ask", Ref(operation="load"))], name="p", output=Ref(operation="ask"))
    return lower(graph)


def test_every_call_is_a_span_below_its_task(seen, manifest, settings, model):
    run_all(manifest, settings, "run/1")
    calls = seen.spans("chat ")
    tasks = {span.attributes["xcs.task.id"]: span for span in seen.spans("task ")}
    assert len(calls) == model.calls > 0
    assert {call.parent.span_id for call in calls} == {tasks["ask"].context.span_id}
    assert {span.name for span in calls} == {"chat gpt-4.1-mini"}
    facts = dict(calls[0].attributes)
    assert facts == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4.1-mini",
        "gen_ai.request.temperature": 0,
        "gen_ai.output.type": "text",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 2,
        "xcs.operation": "ask",
        "xcs.mechanism": "concurrent",
    }
    assert calls[0].kind is trace.SpanKind.CLIENT
    assert not calls[0].status.status_code.value


def test_a_task_tells_its_run_and_what_it_used(seen, manifest, settings, model):
    run_all(manifest, settings, "run/1")
    (task,) = seen.spans("task ask")
    facts = dict(task.attributes)
    assert [facts[f"xcs.{name}"] for name in ("pipeline", "run.id", "task.shard", "task.shards", "task.attempt")] == ["p", "run/1", 0, 1, 1]
    assert (facts["xcs.calls"], facts["xcs.possibly_billed"]) == (model.calls, 0)
    assert facts["xcs.billed_cost_usd"] > 0
    run_all(manifest, settings, "run/1")
    again = seen.spans("task ask")[-1]
    assert again.attributes["xcs.calls"] == 0


def test_a_task_belongs_to_whatever_its_caller_does(seen, manifest, settings, model):
    """As below the span of an Airflow task."""
    with seen.tracers.get_tracer("airflow").start_as_current_span("dag") as parent:
        run_task(manifest, "load", run_id="r", settings=settings)
    (task,) = seen.spans("task load")
    assert task.parent.span_id == parent.get_span_context().span_id


def test_metrics_have_the_advised_buckets_and_few_attributes(seen, manifest, settings, model):
    model.reply = lambda request: ModelAnswer("x", 100, 7, model="gpt-4.1-mini-2025")
    run_all(manifest, settings)
    (duration,) = seen.points("gen_ai.client.operation.duration")
    assert duration.count == model.calls
    assert duration.explicit_bounds[:3] == (0.01, 0.02, 0.04)
    assert duration.explicit_bounds[-1] == pytest.approx(81.92)
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4.1-mini",
        "gen_ai.response.model": "gpt-4.1-mini-2025",
    }
    assert dict(duration.attributes) == expected
    tokens = {point.attributes["gen_ai.token.type"]: point for point in seen.points("gen_ai.client.token.usage")}
    assert (tokens["input"].sum, tokens["output"].sum) == (100 * model.calls, 7 * model.calls)
    assert tokens["input"].explicit_bounds[:4] == (1, 4, 16, 64)
    assert tokens["input"].explicit_bounds[-1] == 67_108_864
    assert dict(tokens["input"].attributes) == {**expected, "gen_ai.token.type": "input"}


def test_every_attempt_is_told_and_failures_have_few_kinds(seen, manifest, settings, model):
    failures = iter([AttemptError("HTTP 503: busy", blame="busy", status=503), AttemptError("lost", blame="busy", may_be_billed=True)])
    model.reply = lambda request: next(failures, None) or "fine"
    run_all(manifest, settings)
    failed = [span for span in seen.spans("chat ") if "error.type" in span.attributes]
    assert sorted(span.attributes["error.type"] for span in failed) == ["503", "no_answer"]
    assert {span.status.status_code.name for span in failed} == {"ERROR"}
    kinds = sorted(point.attributes.get("error.type", "") for point in seen.points("gen_ai.client.operation.duration"))
    assert kinds == ["", "503", "no_answer"]


def test_a_failed_task_tells_the_code_of_its_error(seen, manifest, settings, model, code):
    code("def load():\n    raise ValueError('something private')\n")
    with pytest.raises(RuntimeTaskError):
        run_task(manifest, "load", run_id="r", settings=settings)
    (task,) = seen.spans("task load")
    assert (task.attributes["error.type"], task.status.status_code.name) == ("XCS603", "ERROR")
    assert "something private" not in seen.everything


def test_neither_prompts_nor_answers_are_told(seen, manifest, settings, model):
    def reply(request):
        prompt = request.messages[-1]["content"]
        return AttemptError(f"HTTP 400: cannot say {prompt}", blame="row", status=400) if prompt.endswith(" 7") else prompt

    model.reply = reply
    with pytest.raises(XcsError):
        run_all(manifest, settings)
    assert len(seen.spans("chat ")) > 30
    assert SECRET not in seen.everything.lower()


class Exchange(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        usage = {"prompt_tokens": 10, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 4}}
        message = {"role": "assistant", "content": "fine"}
        data = json.dumps({"model": "m-1", "choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


@pytest.fixture
def endpoint():
    with ThreadingHTTPServer(("127.0.0.1", 0), Exchange) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        server.shutdown()
        thread.join()


def test_a_call_over_http_names_its_server_and_what_the_provider_had_cached(seen, manifest, settings, endpoint):
    routes = {"openai": ModelRoute(use="ours/small"), "ours": ModelRoute(endpoint=endpoint)}
    run_all(manifest, settings.model_copy(update={"models": routes}))
    facts = seen.spans("chat small")[0].attributes
    assert (facts["server.address"], facts["server.port"]) == ("127.0.0.1", int(endpoint.split(":")[2].split("/")[0]))
    assert (facts["gen_ai.provider.name"], facts["gen_ai.response.model"]) == ("ours", "m-1")
    assert facts["gen_ai.usage.cache_read.input_tokens"] == 4


def test_nobody_is_told_when_no_sdk_is_configured():
    """The API is loaded here; its own providers stand for none."""
    assert "opentelemetry.trace" in sys.modules
    assert telemetry() is None


@pytest.mark.parametrize("signal", ["trace", "metrics"])
def test_one_signal_is_enough(monkeypatch, signal):
    provider = TracerProvider() if signal == "trace" else MeterProvider()
    monkeypatch.setattr(
        sys.modules[f"opentelemetry.{signal}"], f"get_{'tracer' if signal == 'trace' else 'meter'}_provider", lambda: provider
    )
    assert telemetry() is telemetry() is not None
    provider.shutdown()


SET_UP = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

trace.set_tracer_provider(TracerProvider())
trace.get_tracer_provider().add_span_processor(BatchSpanProcessor(ConsoleSpanExporter()))
"""


@pytest.mark.parametrize("is_set_up", [True, False])
def test_a_process_tells_what_was_set_up_before_it_and_otherwise_loads_nothing(tmp_path, manifest, endpoint, is_set_up):
    """`sitecustomize` is how `opentelemetry-instrument` gets in, too."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SET_UP if is_set_up else "")
    (tmp_path / "manifest.json").write_text(json.dumps(manifest.to_dict()))
    path = os.pathsep.join([str(tmp_path / "site"), *filter(None, [os.environ.get("PYTHONPATH")])])
    environ = {**os.environ, "PYTHONPATH": path, "XCS_STORE": str(tmp_path / "store")}
    environ["XCS_MODELS"] = json.dumps({"openai": {"endpoint": endpoint}})
    script = """
import sys
from xcs_airflow.runtime import main
for task in ("load", "ask"):
    assert main(["--manifest", sys.argv[1], "--run", "r", "--task", task]) == 0
print("loaded:", any(name.startswith("opentelemetry") for name in sys.modules))
"""
    command = [sys.executable, "-c", script, str(tmp_path / "manifest.json")]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True, timeout=120)
    assert f"loaded: {is_set_up}" in done.stdout
    assert done.stdout.count('"name": "chat gpt-4.1-mini"') == (60 if is_set_up else 0)
    assert done.stdout.count('"name": "task ask"') == int(is_set_up)
