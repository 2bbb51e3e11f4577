"""Resident memory of the tasks of a run with 100,000 items, all of them different prompts that are answered live.

    python benchmarks/memory.py [--quick]

Every task is a process of its own, as on a platform; the kernel says how much memory each held at most. It takes a minute or two against
a loopback server; with `--quick` nine of ten items repeat a prompt.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import Goal, Server, report, say, stub_server

from xcs_airflow.ir import CachePolicy, Graph, LLMMetadata, LLMOperation, Operation, Ref
from xcs_airflow.plan.lower import lower
from xcs_airflow.values import Hole, Message, Prompt

ITEMS, QUICK_DISTINCT, IN_FLIGHT = 100_000, 10_000, 64
MOST_MIB = 300
CODE = """
def load():
    for index in range({items}):
        yield f"Ticket {{index % {distinct}}}: I was charged twice and want my money back, please. I have been waiting for three weeks now."


def shorten(answer):
    return answer[:20]


def report(answers):
    return len(answers)
"""


def pipeline() -> Graph:
    """Load -> ask, item by item -> shorten, item by item -> report."""
    ask = LLMOperation(
        id="ask",
        prompt=Prompt(messages=(Message(parts=("Which team handles this ticket?\n\n", Hole(input="ticket"))),)),
        inputs={"ticket": Ref(operation="load")},
        map_over=("ticket",),
        metadata=LLMMetadata(model="openai/gpt-4.1-mini", temperature=0, max_tokens=16),
        cache=CachePolicy(),
        batch={"group": "openai", "in_flight": IN_FLIGHT},
    )
    shorten = Operation(id="shorten", func="tickets:shorten", inputs={"answer": Ref(operation="ask")}, map_over=("answer",))
    summary = Operation(id="report", func="tickets:report", inputs={"answers": Ref(operation="shorten")})
    return Graph([Operation(id="load", func="tickets:load"), ask, shorten, summary], name="tickets", output=Ref(operation="report"))


def main() -> int:
    """Measure, print, and end 0 only when every goal is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_DISTINCT:,} different prompts; under 50 s")
    distinct = QUICK_DISTINCT if parser.parse_args().quick else ITEMS
    say(f"{ITEMS:,} items, {distinct:,} distinct prompts, {IN_FLIGHT} in flight")
    with tempfile.TemporaryDirectory() as folder, stub_server(0) as server:
        most = {task: _held_mib(Path(folder), server, task) for task in _prepared(Path(folder), distinct)}
        seen = server.seen()
    name = max(most, key=most.__getitem__)
    goals = [
        Goal(f"MiB that the task {name} held at most", most[name], MOST_MIB),
        Goal("requests the server saw, as a multiple of the distinct prompts", seen["requests"] / distinct, 1),
        Goal("distinct prompts the server saw, as a share", seen["distinct"] / distinct, 1, is_least=True),
    ]
    return report(
        goals,
        f"A task of {ITEMS:,} items, {distinct:,} of them answered live, holds {most[name]:.0f} MiB at most, "
        f"{most[name] / MOST_MIB:.2f} times what the goal of {MOST_MIB} MiB allows.",
    )


def _prepared(folder: Path, distinct: int) -> list[str]:
    """The names of the tasks, in their order."""
    manifest = lower(pipeline())
    (folder / "manifest.json").write_text(json.dumps(manifest.to_dict()))
    (folder / "code").mkdir()
    (folder / "code" / "tickets.py").write_text(CODE.format(items=ITEMS, distinct=distinct))
    return [task.id for task in manifest.tasks]


def _held_mib(folder: Path, server: Server, task: str) -> float:
    """Run one task to its end; gives the most memory it held."""
    route = {"openai": {"endpoint": server.address}}
    environ = {**os.environ, "XCS_STORE": str(folder / "store"), "XCS_MODELS": json.dumps(route)}
    command = [sys.executable, "-m", "xcs_airflow.runtime", "--manifest", str(folder / "manifest.json"), "--task", task, "--run", "r"]
    began = time.perf_counter()
    with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True) as process:
        said = process.stderr.read() if process.stderr is not None else ""
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(said)
    mib = used.ru_maxrss / 1024
    seconds = time.perf_counter() - began
    say(f"  {task:8} {seconds:7.1f} s {ITEMS / seconds:8,.0f} items/s {mib:5.0f} MiB")
    return mib


if __name__ == "__main__":
    sys.exit(main())
