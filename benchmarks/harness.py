"""What the benchmarks share: the stub server, clients in processes of their own, goals, and the environment of the peers.

It knows how to run and compare; it does not know what is compared.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PEERS = ROOT / ".venv-bench"


@dataclass(frozen=True)
class Took:
    """What a client took, and what the server saw of it.

    Attributes:
        wall_s: From the first prompt to the last answer.
        cpu_s: Processor seconds of the client in that time.
        rss_mib: The most memory the client held.
        requests: What the server was asked.
        distinct: How many different prompts among them.
    """

    wall_s: float
    cpu_s: float
    rss_mib: float
    requests: int
    distinct: int


class Server:
    """A running stub server.

    Attributes:
        address: The endpoint of its models.

    Args:
        port: Where it listens.
    """

    def __init__(self, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}/v1"

    def seen(self) -> dict[str, int]:
        """What it was asked since it was last asked this."""
        with urllib.request.urlopen(self.address, timeout=20) as response:
            counts: dict[str, int] = json.load(response)
        return counts

    def take(self, client: str, prompts: int, distinct: int, in_flight: int, python: Path | None = None, tries: int = 1) -> Took:
        """Let a client of `clients/` work.

        Args:
            client: Its name.
            prompts: How many prompts it is given.
            distinct: How many different ones among them.
            in_flight: How many calls may wait at a time.
            python: The interpreter; by default this one.
            tries: How often it does all of it; the fastest counts.
        """
        options = ["--prompts", str(prompts), "--distinct", str(distinct), "--in-flight", str(in_flight), "--tries", str(tries)]
        command = [python or sys.executable, HERE / "clients" / f"{client}.py", self.address, *options]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        return Took(**json.loads(done.stdout), **self.seen())


@contextmanager
def stub_server(latency_ms: float) -> Iterator[Server]:
    """A stub server in a process of its own, for as long as the block runs."""
    command = [sys.executable, HERE / "stub_server.py", "--latency-ms", str(latency_ms)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the stub server has no pipes")
        try:
            yield Server(int(process.stdout.readline()))
        finally:
            process.stdin.close()


def peers_python() -> Path:
    """The interpreter that has the peers; sets their environment up when it is missing, which takes a minute or two."""
    subprocess.run(["make", "--silent", "-C", ROOT, ".venv-bench/.ready"], check=True, stdout=sys.stderr)
    return PEERS / "bin" / "python"


@dataclass(frozen=True)
class Goal:
    """Something measured and the bound it must keep.

    Attributes:
        what: In words.
        value: The figure.
        bound: What it may be.
        is_least: Whether the bound is the least; otherwise it is the most.
    """

    what: str
    value: float
    bound: float
    is_least: bool = False

    @property
    def is_met(self) -> bool:
        """Whether the bound is kept."""
        return self.value >= self.bound if self.is_least else self.value <= self.bound

    def __str__(self) -> str:
        word = "at least" if self.is_least else "at most"
        return f"{'met   ' if self.is_met else 'MISSED'}  {self.what}: {self.value:.2f} ({word} {self.bound:g})"


def report(goals: list[Goal], sentence: str) -> int:
    """Print every goal and, last, the figure in one sentence; gives the exit code."""
    say("")
    for goal in goals:
        say(str(goal))
    say(sentence)
    return 0 if all(goal.is_met for goal in goals) else 1


def say(line: str) -> None:
    """Print a line at once, so that whoever waits sees how far it is."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
