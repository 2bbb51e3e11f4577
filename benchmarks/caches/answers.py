"""What every cache is filled with and asked for, and how it says how fast that went. It needs nothing but Python."""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence

ANSWER = "An answer of some six hundred bytes, as models write them when they are asked for a summary. " * 6
BATCH = 1000


def prompt(index: int) -> str:
    """A prompt of which every index has its own."""
    return f"Summarise the ticket {index}: the export of my invoices fails with an error since Monday, and nobody answers the telephone."


def key(index: int) -> str:
    """A key as a digest of a request."""
    return hashlib.sha256(prompt(index).encode()).hexdigest()


def answer(index: int) -> str:
    """The answer to a prompt."""
    return f"{index}: {ANSWER}"


def run(
    fill: Callable[[int], None],
    *,
    one: Callable[[int], str | None] | None = None,
    many: Callable[[Sequence[int]], Sequence[str | None]] | None = None,
    call: Callable[[int], str] | None = None,
) -> None:
    """Fill a cache, look its answers up in random order, and print lookups per second and microseconds a call as JSON.

    Args:
        fill: Puts answers for so many indices into the cache.
        one: The cached answer for one index, looked up by itself.
        many: The cached answers for a thousand indices.
        call: The answer through the call that users make, which is a hit.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--answers", type=int, required=True)
    parser.add_argument("--lookups", type=int, required=True)
    options = parser.parse_args()
    fill(options.answers)
    chosen = random.Random(7)
    indices = [chosen.randrange(options.answers) for _ in range(options.lookups)]
    took: dict[str, float] = {}
    if one is not None:
        took["one_per_s"] = len(indices) / _seconds(lambda: _check(indices, [one(index) for index in indices]))
    if many is not None:
        batches = [indices[start : start + BATCH] for start in range(0, len(indices), BATCH)]
        took["many_per_s"] = len(indices) / _seconds(lambda: [_check(batch, many(batch)) for batch in batches])
    if call is not None:
        took["call_us"] = min(_median_us(call, indices[:2000]) for _ in range(3))
    json.dump(took, sys.stdout)


def _check(indices: Sequence[int], found: Sequence[str | None]) -> None:
    """Every lookup was a hit and gave the right answer."""
    if not all(text is not None and text.startswith(f"{index}:") for index, text in zip(indices, found, strict=True)):
        sys.exit("a lookup was no hit, or gave another answer")


def _median_us(call: Callable[[int], str], indices: Sequence[int]) -> float:
    """Microseconds of a call: half of them take less."""
    found, took = [], []
    for index in indices:
        began = time.perf_counter()
        found.append(call(index))
        took.append(time.perf_counter() - began)
    _check(indices, found)
    return statistics.median(took) * 1e6


def _seconds(work: Callable[[], object]) -> float:
    """The least of three tries: what is slower than that waited for somebody else."""
    tries = []
    for _ in range(3):
        began = time.perf_counter()
        work()
        tries.append(time.perf_counter() - began)
    return min(tries)
