"""The runtime as a process: what it loads, and what is left when it is killed."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from xcs_airflow.plan.lower import lower
from xcs_airflow.runtime import RuntimeSettings, run_usage
from xcs_airflow.runtime.cache.sqlite import SqliteCache

PIPELINE = """
def load(path=""):
    return [f"ticket {index}" for index in range(40)]


def report(**inputs):
    return inputs
"""


class Server(ThreadingHTTPServer):
    """Answers a number of requests and lets the rest wait."""

    daemon_threads = True

    def __init__(self, answers):
        super().__init__(("127.0.0.1", 0), Exchange)
        self.prompts = []
        self.answered = threading.Semaphore(answers)
        self.stuck = threading.Event()
        self.release = threading.Event()


class Exchange(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.prompts.append(body["messages"][0]["content"])
        if not self.server.answered.acquire(blocking=False):
            self.server.stuck.set()
            self.server.release.wait(60)
            return
        message = {"role": "assistant", "content": "fine"}
        usage = {"prompt_tokens": 10, "completion_tokens": 1}
        data = json.dumps({"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


@pytest.fixture
def serve():
    servers = []

    def start(answers):
        server = Server(answers)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.release.set()
        server.shutdown()
        server.server_close()


@pytest.fixture
def start(graphs, code, tmp_path):
    """Starts a task in a process of its own, which logs to a file."""
    code(PIPELINE)
    (tmp_path / "manifest.json").write_text(json.dumps(lower(graphs["small"]()).to_dict()))

    def start(task, server):
        route = {"endpoint": f"http://127.0.0.1:{server.server_address[1]}/v1"}
        environ = {**os.environ, "XCS_STORE": str(tmp_path / "store"), "XCS_MODELS": json.dumps({"openai": route})}
        command = [sys.executable, "-m", "xcs_airflow.runtime", "--manifest", str(tmp_path / "manifest.json"), "--task", task, "--run", "r"]
        with (tmp_path / f"{task}.log").open("w") as log:
            return subprocess.Popen(command, env=environ, stderr=log)

    return start


def remembered(path, count, within_s=20):
    """Wait until so many answers are in the cache."""
    cache = SqliteCache(path)
    ends = time.monotonic() + within_s
    while time.monotonic() < ends:
        found = len(list(cache.keys()))
        if found >= count:
            break
        time.sleep(0.02)
    cache.close()
    return found


@pytest.mark.parametrize(("number", "code_name"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 75)])
def test_a_killed_task_goes_on_where_it_was(start, serve, tmp_path, number, code_name):
    server = serve(answers=25)
    assert start("tickets", server).wait(60) == 0
    process = start("classify_summarise", server)
    assert server.stuck.wait(60)
    assert remembered(tmp_path / "cache.sqlite", 25) == 25
    process.send_signal(number)
    assert process.wait(60) == code_name
    settings = RuntimeSettings(store=tmp_path / "store")
    first = run_usage(settings, "small", "r").total
    assert first.calls == 25
    assert len(server.prompts) - 25 <= first.possibly_billed <= 16

    server.prompts.clear()
    server.answered.release(1000)
    assert start("classify_summarise", server).wait(60) == 0
    assert "55 calls, 25 cache hits" in (tmp_path / "classify_summarise.log").read_text()
    assert len(server.prompts) == len(set(server.prompts)) == 55
    assert run_usage(settings, "small", "r").total.calls == 80


def test_a_task_says_in_its_log_what_it_did_and_nothing_else(start, serve, tmp_path):
    assert start("tickets", serve(answers=0)).wait(60) == 0
    log = (tmp_path / "tickets.log").read_text()
    assert [line.partition("INFO ")[2].partition(" in ")[0] for line in log.splitlines()] == ["task tickets: done"]


def test_importing_the_runtime_loads_no_client_database_or_engine():
    script = (
        "import sys, xcs_airflow.runtime; "
        "print(sorted({'aiohttp', 'sqlite3', 'obstore', 'xllamacpp', 'genai_prices', 'jinja2', 'click', 'rustworkx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_finished_task_loads_none_of_them_either(start, serve, tmp_path):
    server = serve(answers=1000)
    for task in ("tickets", "classify_summarise"):
        assert start(task, server).wait(60) == 0
    options = [
        "--manifest",
        str(tmp_path / "manifest.json"),
        "--task",
        "classify_summarise",
        "--run",
        "r",
        "--store",
        str(tmp_path / "store"),
    ]
    script = f"""
import sys
from xcs_airflow.runtime import main
assert main({options!r}) == 0
print(sorted({{"aiohttp", "sqlite3", "obstore", "xllamacpp", "genai_prices"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
