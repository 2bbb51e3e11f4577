"""Runs all passes over graphs of some sizes in turns, and prints the least processor seconds of each pass, by size, as one JSON object.

So many small graphs count as one measurement as have the operations of a large one: the shorter a measurement, the likelier it is that a
shared machine is quick all the time, and the least of some would be that of a better moment.

python benchmarks/compilers/xcs_passes.py ROUNDS SIZE [SIZE ...]
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Sequence

from workload import document

from xcs_airflow.cost.simulation import RateLimit
from xcs_airflow.garbage import GRAPHS, collected_seldom
from xcs_airflow.ir.graph import Decision, Graph
from xcs_airflow.ir.serde import loads
from xcs_airflow.passes import LLMGraphEnhancer, Verify

# With a target and a limit, so that every pass has something to do.
TARGET, LIMITS = "aws-batch", {"openai": RateLimit(requests_per_minute=10_000)}

MANY = 30_000
"""Operations, with which a measurement is long enough."""


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


def main(rounds: int, sizes: Sequence[int]) -> None:
    """Run, then print."""
    took: dict[int, list[dict[str, float]]] = {size: [] for size in sizes}
    for size in [*sizes] * rounds:
        took[size].append(_measured(document(size), max(1, min(MANY, max(sizes)) // size)))
    sys.stdout.write(json.dumps({size: {name: min(one[name] for one in tries) for name in tries[0]} for size, tries in took.items()}))


def _measured(text: str, times: int) -> dict[str, float]:
    """The mean of several runs."""
    total: Counter[str] = Counter()
    for _ in range(times):
        graph, clock = loads(text), Clock()
        with collected_seldom(GRAPHS):
            LLMGraphEnhancer(target=TARGET, limits=LIMITS, observers=(Verify(), clock)).enhance(graph)
        total.update(clock.seconds)
    return {name: seconds / times for name, seconds in {**total, "all passes": total.total()}.items()}


if __name__ == "__main__":
    main(int(sys.argv[1]), [int(size) for size in sys.argv[2:]])
