"""Processes that share a cache of whatever kind and ask the same at the same moment: each prompt is paid once."""

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from .places import redis_server

PROMPTS = 40
PROCESSES = 3

ASK = f"""
import sys
from xcs_airflow import llm
ask = llm("ours/model", "About {{ticket}}", temperature=0)
print("ready", flush=True)
sys.stdin.readline()
answers = ask.map(ticket=[str(number) for number in range({PROMPTS})])
assert answers == [f"ABOUT {{number}}" for number in range({PROMPTS})], answers
"""


class Exchange(BaseHTTPRequestHandler):
    def do_POST(self):
        prompt = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"][0]["content"]
        self.server.asked[prompt] += 1
        time.sleep(0.05)
        choice = {"message": {"role": "assistant", "content": prompt.upper()}, "finish_reason": "stop"}
        data = json.dumps({"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    """A model that counts what it is asked."""
    found = ThreadingHTTPServer(("127.0.0.1", 0), Exchange)
    found.asked = Counter()
    thread = threading.Thread(target=found.serve_forever)
    thread.start()
    yield found
    found.shutdown()
    thread.join()
    found.server_close()


def address_of(kind, folder):
    """An empty cache."""
    if kind != "redis":
        return f"{kind}://{'/' * (kind == 'sqlite')}{folder}/cache"
    redis_server().flushall()
    return f"unix://{redis_server().socket_file}"


@pytest.mark.parametrize(("kind", "is_encrypted"), [("sqlite", False), ("file", True), ("redis", False)])
def test_processes_that_ask_the_same_pay_once(server, tmp_path, kind, is_encrypted):
    address = address_of(kind, tmp_path)
    models = {"ours": {"endpoint": f"http://127.0.0.1:{server.server_address[1]}/v1"}}
    environment = {**os.environ, "XCS_CACHE": address, "XCS_MODELS": json.dumps(models)}
    if is_encrypted:
        environment |= {"XCS_CACHE_KEY_ENV": "CACHE_KEY", "CACHE_KEY": "5a" * 32}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen([sys.executable, "-c", ASK], env=environment, **pipes) for _ in range(PROCESSES)]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * PROCESSES
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    assert server.asked == {f"About {number}": 1 for number in range(PROMPTS)}
