"""The time of every pass, and how it grows with the number of operations.

    python benchmarks/passes.py [--quick]

All passes run over one graph after another, in one process; `compilers/workload.py` says what the graphs are made of. Times are processor
seconds, and the time of a pass is with the check of its result. Sizes take turns, several times, and the least time counts, for the machine
is shared; a process of its own for each size would favour the small ones, because a virtual machine is quickest when it has just begun.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence

from growth import exponent
from harness import HERE, Goal, report, say

SIZES, QUICK = (3_000, 10_000, 30_000, 100_000), (800, 2_400, 7_200)
ROUNDS = 2
MOST_EXPONENT = 1.1


def main() -> int:
    """Measure, print, and end 0 only when every goal is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"up to {QUICK[-1]:,} operations; under 50 s")
    sizes = QUICK if parser.parse_args().quick else SIZES
    took = _measured(sizes)
    say(f"{'processor seconds':22}" + "".join(f"{size:>10,}" for size in sizes) + "  exponent")
    exponents = {name: exponent({size: took[size][name] for size in sizes}) for name in took[sizes[0]]}
    for name, power in exponents.items():
        say(f"  {name:20}" + "".join(f"{took[size][name]:10.3f}" for size in sizes) + f"{power:10.2f}")
    each_us = took[sizes[-1]]["all passes"] / sizes[-1] * 1e6
    return report(
        [Goal(f"exponent of the time of {name}", power, MOST_EXPONENT) for name, power in exponents.items()],
        f"All passes over {sizes[-1]:,} operations take {took[sizes[-1]]['all passes']:.1f} processor seconds, "
        f"{each_us:.0f} µs each, {each_us / (took[sizes[0]]['all passes'] / sizes[0] * 1e6):.2f} times as much as with {sizes[0]:,}.",
    )


def _measured(sizes: Sequence[int]) -> dict[int, dict[str, float]]:
    """Processor seconds by the size and the name of the pass."""
    command = [sys.executable, HERE / "compilers" / "xcs_passes.py", *map(str, (ROUNDS, *sizes))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    # Less than five milliseconds are noise.
    return {int(size): {name: max(seconds, 0.005) for name, seconds in took.items()} for size, took in json.loads(done.stdout).items()}


if __name__ == "__main__":
    sys.exit(main())
