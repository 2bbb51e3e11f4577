"""Requests per second of a task beside a raw asynchronous client and beside what peers do, all in one run.

    python benchmarks/runtime.py [--quick]

2,000 prompts, of which 400 repeat others, 64 calls in flight, a loopback server that counts. Ratios are medians over rounds in which the
clients take turns, each with three tries of which the fastest counts, for the machine is shared: seconds are of today, ratios hold. Ours
is compared with the mean of the raw runs before and after it, and each peer with the mean of ours before and after it, so that a load that
comes or goes favours neither; the ideal, which no load of the machine slows down, with a second run if the first was too slow.
"""

from __future__ import annotations

import argparse
import statistics
import sys

from harness import Goal, Server, Took, peers_python, report, say, stub_server

PROMPTS, DISTINCT, IN_FLIGHT = 2000, 1600, 64
LATENCY_MS = 200
MOST_SLOW = 1.1
TRIES = 3
PEERS = {"openai_sdk": "openai SDK", "litellm_async": "litellm", "dspy_async": "dspy"}


def main() -> int:
    """Measure, print, and end 0 only when every goal is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, fewer prompts for the slow peers; under 50 s")
    is_quick = parser.parse_args().quick
    python = peers_python()
    with stub_server(0) as server:
        say(f"{PROMPTS:,} prompts, {DISTINCT:,} distinct, {IN_FLIGHT} in flight; server latency 0 ms")
        raw, ours = _take_turns(server, rounds=4 if is_quick else 12)
        count = PROMPTS // 10 if is_quick else PROMPTS
        distinct = count * DISTINCT // PROMPTS
        faster: dict[str, float] = {}
        beside = [_line("xcs-airflow", server.take("xcs_task", PROMPTS, DISTINCT, IN_FLIGHT))]
        for client, name in PEERS.items():
            peer = _line(name, server.take(client, count, distinct, IN_FLIGHT, python), count)
            beside.append(_line("xcs-airflow", server.take("xcs_task", PROMPTS, DISTINCT, IN_FLIGHT)))
            faster[name] = peer.wall_s / count / (statistics.mean(took.wall_s for took in beside[-2:]) / PROMPTS)
    ideal_s = DISTINCT / IN_FLIGHT * LATENCY_MS / 1000
    with stub_server(LATENCY_MS) as server:
        say(f"server latency {LATENCY_MS} ms")
        waited = [_line("xcs-airflow", server.take("xcs_task", PROMPTS, DISTINCT, IN_FLIGHT))]
        if waited[0].wall_s > MOST_SLOW * ideal_s:
            waited.append(_line("xcs-airflow", server.take("xcs_task", PROMPTS, DISTINCT, IN_FLIGHT)))
    between = zip(raw, ours, raw[1:], strict=False)
    ratio = statistics.median(took.wall_s / statistics.mean((before.wall_s, after.wall_s)) for before, took, after in between)
    slow = min(took.wall_s for took in waited) / ideal_s
    name, times = min(faster.items(), key=lambda entry: entry[1])
    seen = {(took.requests, took.distinct) for took in (*ours, *beside, *waited)}
    goals = [
        Goal("time at 0 ms, as a multiple of raw aiohttp that de-duplicates", ratio, 1.25),
        Goal(f"time at {LATENCY_MS} ms, as a multiple of the ideal {ideal_s:g} s", slow, MOST_SLOW),
        Goal(f"times faster at 0 ms than the fastest peer, {name}", times, 8, is_least=True),
        Goal("requests the server saw, as a multiple of the distinct prompts", max(requests for requests, _ in seen) / DISTINCT, 1),
        Goal("distinct prompts the server saw, as a share", min(distinct for _, distinct in seen) / DISTINCT, 1, is_least=True),
    ]
    return report(
        goals,
        f"A task takes {ratio:.2f} times as long as raw aiohttp that de-duplicates, {slow:.2f} times the ideal at "
        f"{LATENCY_MS} ms, and is {times:.1f} times faster than {name}; the server saw {max(seen)[0]:,} requests "
        f"for {DISTINCT:,} distinct prompts.",
    )


def _take_turns(server: Server, rounds: int) -> tuple[list[Took], list[Took]]:
    """The raw client and the runtime, one after the other, so that both meet the same weather; the raw client goes first and last."""
    raw: list[Took] = []
    ours: list[Took] = []
    for is_ours in (*(False, True) * rounds, False):
        name, client = ("xcs-airflow", "xcs_task") if is_ours else ("raw aiohttp", "raw_aiohttp")
        (ours if is_ours else raw).append(_line(name, server.take(client, PROMPTS, DISTINCT, IN_FLIGHT, tries=TRIES)))
    return raw, ours


def _line(name: str, took: Took, prompts: int = PROMPTS) -> Took:
    per_second = prompts / took.wall_s
    cpu_us = took.cpu_s / prompts * 1e6
    say(
        f"  {name:12} {prompts:5,} prompts {took.wall_s:7.3f} s {per_second:8,.0f}/s {cpu_us:6,.0f} µs CPU a prompt "
        f"{took.requests:6,} requests {took.rss_mib:5.0f} MiB"
    )
    return took


if __name__ == "__main__":
    sys.exit(main())
