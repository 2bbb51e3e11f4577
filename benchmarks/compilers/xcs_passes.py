"""Runs all passes over the graph whose JSON is given on standard input, and prints the processor seconds of each as one JSON object."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence

from workload import document

from xcs_airflow.cost.simulation import RateLimit
from xcs_airflow.garbage import GRAPHS, collected_seldom
from xcs_airflow.ir.graph import Decision, Graph
from xcs_airflow.ir.serde import loads
from xcs_airflow.passes import LLMGraphEnhancer, Verify

# With a target and a limit, so that every pass has something to do.
TARGET, LIMITS = "aws-batch", {"openai": RateLimit(requests_per_minute=10_000)}


class Clock:
    """Notes when passes begin and end; as the last of the observers it times the check of the result, too."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def started(self, name: str, graph: Graph) -> None:  # noqa: ARG002
        """Start the clock."""
        self.seconds[name] = -time.process_time()

    def finished(self, name: str, before: Graph, after: Graph, decisions: Sequence[Decision]) -> None:  # noqa: ARG002
        """Stop it."""
        self.seconds[name] += time.process_time()


def main() -> None:
    """Warm up, run, print."""
    LLMGraphEnhancer(target=TARGET, limits=LIMITS).enhance(loads(document(100)))
    graph = loads(sys.stdin.read())
    clock = Clock()
    with collected_seldom(GRAPHS):
        LLMGraphEnhancer(target=TARGET, limits=LIMITS, observers=(Verify(), clock)).enhance(graph)
    sys.stdout.write(json.dumps({**clock.seconds, "all passes": sum(clock.seconds.values())}))


if __name__ == "__main__":
    main()
