"""Lookups per second of the response cache beside raw SQLite and LMDB, and a hit through the public call beside those of peers.

    python benchmarks/cache.py [--quick]

100,000 answers of about 600 bytes, looked up in random order, one by one and a thousand at a time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

from harness import HERE, Goal, peers_python, report, say

ROUNDS, QUICK_ROUNDS = 3, 2


def main() -> int:
    """Measure, print, and end 0 only when every goal is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a fifth of the answers in fewer rounds; under 50 s")
    count, rounds = (20_000, QUICK_ROUNDS) if parser.parse_args().quick else (100_000, ROUNDS)
    peers = peers_python()
    say(f"{count:,} answers of about 600 bytes: lookups per second, one by one and in thousands, and a hit through the public call")
    raw, ours = [], []
    for _ in range(rounds):  # they take turns, so that both meet the same weather
        raw.append(_line("raw sqlite3", _measured("raw_sqlite", count, count)))
        ours.append(_line("xcs-airflow", _measured("xcs", count, count)))
    _line("raw lmdb", _measured("raw_lmdb", count, count, peers))
    dspy = _line("dspy, memory", _measured("dspy_cache", 1000, 2000, peers))
    langchain = _line("langchain, SQLite", _measured("langchain_sqlite", 1000, 2000, peers))
    share = statistics.median(ours_took["many_per_s"] / raw_took["many_per_s"] for raw_took, ours_took in zip(raw, ours, strict=True))
    hit_us = statistics.median(took["call_us"] for took in ours)
    goals = [
        Goal("batched lookups, as a share of raw SQLite's", share, 0.5, is_least=True),
        Goal("microseconds of a hit through the public call", hit_us, 60),
    ]
    return report(
        goals,
        f"Batched lookups are {share:.2f} times as fast as raw SQLite's, and a hit through the public call takes {hit_us:.0f} µs: "
        f"{dspy['call_us'] / hit_us:.1f} times faster than dspy's from memory, "
        f"{langchain['call_us'] / hit_us:.1f} times than LangChain's from SQLite.",
    )


def _measured(cache: str, answers: int, lookups: int, python: Path | None = None) -> dict[str, float]:
    command = [python or sys.executable, HERE / "caches" / f"{cache}.py", "--answers", str(answers), "--lookups", str(lookups)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    took: dict[str, float] = json.loads(done.stdout)
    return took


def _line(name: str, took: dict[str, float]) -> dict[str, float]:
    units = {"one_per_s": "/s", "many_per_s": "/s", "call_us": "µs"}
    cells = [f"{took[what]:10,.0f}{unit}" if what in took else " " * 12 for what, unit in units.items()]
    say(f"  {name:18}{''.join(cells)}")
    return took


if __name__ == "__main__":
    sys.exit(main())
