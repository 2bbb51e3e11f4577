"""Servers that count what they are asked and workers that may be killed, each in processes of their own; and the count of all kills."""

import itertools
import json
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from .counting_server import counting_server
from .crashing import Run
from .gcs_emulator import cloud_storage
from .mortal_worker import mortal_workers

BUCKETS = itertools.count()


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
def counting():
    """A model that counts."""
    with counting_server() as server:
        yield server


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    """Processes that may be killed."""
    with mortal_workers(tmp_path_factory.mktemp("workers") / "log") as workers:
        yield workers


@pytest.fixture
def fast_folder():
    """A folder in memory where there is one: what a killed process has written survives there as well, and syncing takes no time."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="xcs-", dir=shared if shared.is_dir() else None) as name:
        yield Path(name)


@pytest.fixture
def run_of(fast_folder, counting, workers):
    """Makes runs, each in a folder of its own."""
    names = itertools.count()

    def make(graph, in_flight=8, folder=None, code=None):
        return Run(folder or fast_folder / str(next(names)), graph, in_flight, counting, workers, code)

    return make


@pytest.fixture(scope="module")
def s3():
    """A maker of empty buckets in moto's S3, and the variables that lead there."""
    from moto.s3.responses import S3Response  # noqa: PLC0415  # a second, which few tests need
    from moto.server import ThreadedMotoServer  # noqa: PLC0415

    put, one_at_a_time = S3Response.put_object, threading.Lock()

    def put_alone(response):
        """S3 looks at a condition and writes in one step; moto does so in two, between which another thread may write."""
        with one_at_a_time:
            return put(response)

    S3Response.put_object = put_alone
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())

    def make():
        name = f"bucket-{next(BUCKETS)}"
        urllib.request.urlopen(urllib.request.Request(f"{url}/{name}", method="PUT"), timeout=20).close()
        return f"s3://{name}/folder"

    keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "us-east-1"}
    yield {**keys, "AWS_ENDPOINT_URL": url}, make
    server.stop()
    S3Response.put_object = put


@pytest.fixture(scope="module")
def gcs():
    """The same for an emulator of Cloud Storage."""
    with cloud_storage() as server:

        def make():
            name = f"bucket-{next(BUCKETS)}"
            server.make_bucket(name)
            return f"gs://{name}/folder"

        yield server.environment, make


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
