"""What every client is asked to do, and how it says how long that took. It needs nothing but Python."""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable, Sequence

MODEL = "stub"
TEXT = "Which team handles this ticket? Answer with one word.\n\nTicket {}: the export of my invoices fails with an error since Monday."


def prompts(count: int, distinct: int) -> list[str]:
    """Prompts of which some are equal, spread evenly."""
    return [TEXT.format(index % distinct) for index in range(count)]


async def each(ask: Callable[[str], Awaitable[str]], prompts: Sequence[str], in_flight: int) -> list[str]:
    """Ask for every prompt, so many at a time; the answers in order."""
    answers: dict[int, str] = {}
    queue = iter(range(len(prompts)))

    async def work() -> None:
        for index in queue:
            answers[index] = await ask(prompts[index])

    await asyncio.gather(*(work() for _ in range(in_flight)))
    return [answers[index] for index in range(len(prompts))]


def run(ask_all: Callable[[str, Sequence[str], int], Callable[[], Sequence[str]]]) -> None:
    """Time one client, from the first prompt to the last answer, and print what it took as JSON.

    A call before the clock starts pays for what a process does once: imports, price tables, thread pools. Of several tries, each
    from nothing, the fastest counts: what is slower than that waited for somebody else.

    Args:
        ask_all: Given the endpoint (`http://host:port/v1`), all prompts and how many calls may be in flight, asks; what it returns
            gives the answers in the order of the prompts, for a check that is not timed.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("endpoint")
    parser.add_argument("--prompts", type=int, required=True)
    parser.add_argument("--distinct", type=int, required=True)
    parser.add_argument("--in-flight", type=int, required=True)
    parser.add_argument("--tries", type=int, default=1)
    options = parser.parse_args()
    ask_all(options.endpoint, ["Hello"], 1)
    texts = prompts(options.prompts, options.distinct)
    tries = []
    for _ in range(options.tries):
        urllib.request.urlopen(options.endpoint, timeout=20).close()  # counting starts again
        cpu, began = time.process_time(), time.perf_counter()
        read = ask_all(options.endpoint, texts, options.in_flight)
        tries.append((time.perf_counter() - began, time.process_time() - cpu))
        answers = read()
        if len(answers) != len(texts) or not all("short answer" in answer for answer in answers):
            sys.exit("answers are missing or wrong")
    wall_s, cpu_s = min(tries)
    json.dump({"wall_s": wall_s, "cpu_s": cpu_s, "rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}, sys.stdout)
