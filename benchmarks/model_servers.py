"""The servers that `optimizer.py` asks: a simulator of latencies, a server with a batch API, and a front before both.

It knows how they are started; it does not know what they are asked.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness import HERE, PEERS, peers_python

_START_S = 120


@dataclass(frozen=True)
class Delays:
    """How long servers take.

    Attributes:
        first_ms: Until an answer begins.
        token_ms: For every token of it.
        batch_s: Until a batch is done.
    """

    first_ms: float
    token_ms: float
    batch_s: float


@dataclass(frozen=True)
class Models:
    """Running servers.

    Attributes:
        address: The endpoint of their models.
    """

    address: str

    def requests(self) -> int:
        """How many requests they were asked since they were last asked this, those inside batches included."""
        with urllib.request.urlopen(self.address.removesuffix("/v1") + "/requests", timeout=20) as response:
            return int(json.load(response)["requests"])


@contextmanager
def model_servers(delays: Delays) -> Iterator[Models]:
    """All of them, each in a process of its own, for as long as the block runs."""
    peers_python()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port, other = _free_port(), _free_port()
        speed = ["--prefill-delay-ms", str(delays.first_ms), "--decode-delay-per-token-ms", str(delays.token_ms), "--eos-min-ratio", "1.0"]
        simulator = [PEERS / "bin" / "xpyd-sim", "serve", "--host", "127.0.0.1", "--port", str(port), "--model", "sim", *speed]
        stack.enter_context(_process(simulator, folder / "simulator"))
        stack.enter_context(
            _process([sys.executable, HERE / "slow_llmock.py", "--port", str(other), "--batch-s", str(delays.batch_s)], folder / "llmock")
        )
        for name, place in (("simulator", port), ("llmock", other)):
            _wait_for(place, folder / name)
        addresses = [f"http://127.0.0.1:{port}", f"http://127.0.0.1:{other}"]
        front = stack.enter_context(
            subprocess.Popen(
                [sys.executable, HERE / "model_front.py", *addresses], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        )
        if front.stdin is None or front.stdout is None:
            raise RuntimeError("the front has no pipes")
        stack.callback(front.stdin.close)
        yield Models(f"http://127.0.0.1:{int(front.stdout.readline())}/v1")


@contextmanager
def _process(command: list[str | Path], log: Path) -> Iterator[None]:
    with log.open("w") as file, subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT) as process:
        try:
            yield
        finally:
            process.terminate()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait_for(port: int, log: Path) -> None:
    """Return once something listens."""
    ends = time.monotonic() + _START_S
    while time.monotonic() < ends:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit(log.read_text())
