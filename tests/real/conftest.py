"""A third-party LLM server in a process of its own, which counts what it is asked and fails as it is told; and the count of all kills."""

import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest


def pytest_terminal_summary(terminalreporter):
    """Say how often a process was killed; tests note it with `record_property("kills", ...)`."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports if getattr(report, "when", "") == "call"]
    kills = sum(number for report in reports for name, number in report.user_properties if name == "kills")
    if kills:
        terminalreporter.write_line(f"{kills} kills -9: no answer lost, no call settled twice, no more calls in doubt than were in flight")


class LLMock:
    """A running server and its journal."""

    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}"

    def ask(self, method, path, document=None):
        data = None if document is None else json.dumps(document).encode()
        request = urllib.request.Request(f"{self.url}/_llmock/{path}", data=data, method=method)
        with urllib.request.urlopen(request, timeout=20) as response:
            return json.load(response)

    def script(self, *behaviors):
        self.ask("POST", "scenario", {"behaviors": list(behaviors)})

    @property
    def requests(self):
        return self.ask("GET", "requests")["requests"]

    def prompts(self, status=200):
        return [request["body"]["messages"][-1]["content"] for request in self.requests if request["status"] == status]

    def count(self):
        return self.ask("GET", "requests")["count"]


@pytest.fixture(scope="module")
def llmock_process(tmp_path_factory):
    log = tmp_path_factory.mktemp("llmock") / "log"
    with log.open("w") as file:
        command = [Path(sys.executable).with_name("llmock"), "serve", "--port", "0", "--response-style", "echo", "--log-level", "info"]
        server = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    try:
        yield LLMock(_port(server, log))
    finally:
        server.terminate()
        server.wait(20)


def _port(server, log):
    """The port it took: its log says so once it listens."""
    ends = time.monotonic() + 60
    while time.monotonic() < ends and server.poll() is None:
        told = [line for line in log.read_text().splitlines() if "Uvicorn running on" in line]
        if told:
            return int(told[0].partition("127.0.0.1:")[2].split()[0])
        time.sleep(0.05)
    raise AssertionError(log.read_text())


@pytest.fixture
def llmock(llmock_process):
    llmock_process.ask("POST", "reset")
    return llmock_process
