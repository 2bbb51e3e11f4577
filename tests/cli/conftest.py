"""A project to work in, a model that answers, and a stranger's exporters found the way every exporter is found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click.testing import CliRunner

from xcs_airflow.cli.main import xcs

PIPELINE = """
from xcs_airflow import llm, op, pipeline

print("a module may talk")


@op(items=3)
def load(path: str) -> list[str]:
    return ["a", "b", "a"]


classify = llm("openai/gpt-4.1-mini", "Which team?\\n\\n{ticket}", max_tokens=8, temperature=0)


@op
def report(teams: list[str]) -> str:
    return ", ".join(teams)


@pipeline
def triage(path: str = "tickets.jsonl"):
    return report(classify.map(ticket=load(path)))
"""

PLUGIN = """
from pydantic import BaseModel

from xcs_airflow.errors import Finding, UnsupportedError
from xcs_airflow.exporting.bundle import Bundle
from xcs_airflow.exporting.port import Capabilities


class Settings(BaseModel):
    greeting: str = "hello"


class Plain:
    name = "plain"
    capabilities = Capabilities(supported={}, unsupported={})
    settings_model = Settings
    image_extras = None

    def emit(self, plan, settings):
        return Bundle({"plain.txt": f"{settings.get('greeting', 'hello')} {plan.name}".encode()})

    def check(self, bundle):
        return (Finding.of("XCS506", rule="greeting", reason="it is short", severity="warning"),)


class Picky(Plain):
    name = "picky"

    def emit(self, plan, settings):
        raise UnsupportedError([Finding.of("XCS502", target="picky", feature=f, reason="it is picky") for f in ("edges", "shards")])


class Careful(Plain):
    name = "careful"

    def check(self, bundle):
        return (Finding.of("XCS506", rule="names", reason="too long"),)
"""

ENTRY_POINTS = """
[xcs_airflow.exporters]
plain = strangers_exporters:Plain
picky = strangers_exporters:Picky
careful = strangers_exporters:Careful
broken = strangers_exporters.missing:Exporter
"""


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    """The folder of an installed distribution with four exporters; this process and its children see it."""
    folder = tmp_path / "site"
    metadata = folder / "strangers_exporters-1.0.dist-info"
    metadata.mkdir(parents=True)
    (folder / "strangers_exporters.py").write_text(PLUGIN)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: strangers-exporters\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]))
    yield folder
    sys.modules.pop("strangers_exporters", None)


@pytest.fixture
def project(tmp_path, monkeypatch, plugins):
    """A folder with a pipeline, in which commands run."""
    for name in [name for name in os.environ if name.startswith("XCS_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pipeline.py").write_text(PIPELINE)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def run_xcs(project):
    """Runs `xcs` with arguments in this process."""

    def run(*arguments, **options):
        return CliRunner().invoke(xcs, [str(argument) for argument in arguments], catch_exceptions=False, **options)

    return run


@pytest.fixture
def start_xcs(project):
    """Runs `xcs` with arguments in a process of its own."""

    def run(*arguments, script="xcs", **options):
        module = {"xcs": "main", "xcs-export": "export"}[script]
        code = f"from xcs_airflow.cli.{module} import main; main()"
        command = [sys.executable, "-c", code, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False, timeout=120, **options)

    return run


@pytest.fixture
def codes():
    """The codes of the findings in a JSON output."""

    def read(result):
        return [finding["code"] for finding in json.loads(result.stdout)["findings"]]

    return read


class Model(ThreadingHTTPServer):
    request_queue_size = 128  # more connections than a run opens at a time: one that is turned away comes back seconds later


class Answers(BaseHTTPRequestHandler):
    """Answers every question with its last word, and counts."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        question = body["messages"][-1]["content"]
        self.server.questions[question] += 1
        status = 500 if question.endswith("broken") else 200
        message = {"role": "assistant", "content": question.split()[-1].upper()}
        into, out = self.server.tokens(question)
        usage = {"prompt_tokens": into, "completion_tokens": out, "total_tokens": into + out}
        answer = {"model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}
        content = json.dumps(answer if status == 200 else {"error": {"message": "no"}}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    """A model on a free port of this machine."""
    found = Model(("127.0.0.1", 0), Answers)
    found.questions = Counter()
    found.tokens = lambda _: (10, 2)
    thread = threading.Thread(target=found.serve_forever)
    thread.start()
    yield found
    found.shutdown()
    thread.join()
    found.server_close()


@pytest.fixture
def models(server):
    return json.dumps({"openai": {"endpoint": f"http://127.0.0.1:{server.server_address[1]}/v1"}})
