"""Time and memory from the JSON of a graph to the files of all targets, beside `json.dumps` of the same files.

    python benchmarks/compile.py [--quick]

A graph file goes the way of `xcs-export`, in a process of its own: read, checked, all passes, plan, files, and each exporter's check of
them; only nothing is written to disk. The baseline is `json.dumps` of all emitted files, parsed where they are JSON and as one text
where they are not, in the same process, best of several times; both are processor seconds. Sizes take turns, twice, and the least counts.
`compilers/workload.py` says what the graphs are made of.

AWS and Google Cloud take about a thousand tasks of one pipeline (1 MB of template, 1,000 jobs in a region), which here are a little
more than 10,000 operations. Up to there one graph is compiled for all three targets; beyond, and for the exponents of the larger sizes,
one graph is compiled for Airflow, which has no such limit.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from compilers.workload import document
from growth import exponent
from harness import HERE, Goal, report, say

ALL = ("airflow", "aws-batch", "cloud-run")
SIZES, LARGE = (1_000, 3_000, 10_000), (3_000, 10_000, 30_000, 100_000)
QUICK = (500, 1_500, 4_000)
ROUNDS = 2
MOST_TIMES, MOST_EXPONENT = 15, 1.1


def main() -> int:
    """Measure, print, and end 0 only when every goal is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"up to {QUICK[-1]:,} operations; under 50 s")
    sizes, large = (QUICK, ()) if parser.parse_args().quick else (SIZES, LARGE)
    say("operations, tasks, files; processor seconds (of which load, passes and plan), as a multiple of json.dumps; memory at most")
    with tempfile.TemporaryDirectory() as folder:
        rounds = [{size: _compiled(Path(folder), size, ALL) for size in sizes} for _ in range(ROUNDS)]
        small_took = {size: _least([one[size] for one in rounds]) for size in sizes}
        large_took = {size: _compiled(Path(folder), size, ALL[:1]) for size in large}
    last = small_took[sizes[-1]]
    times = last["seconds"] / last["dumps_s"]
    goals = [Goal(f"time for {sizes[-1]:,} operations and all targets, as a multiple of json.dumps", times, MOST_TIMES)]
    for what, took in (("all targets", small_took), ("Airflow", large_took)):
        if took:
            seconds, mib = ({size: one[of] for size, one in took.items()} for of in ("seconds", "mib"))
            goals.append(Goal(f"exponent of the time for {what} up to {max(took):,} operations", exponent(seconds), MOST_EXPONENT))
            goals.append(Goal(f"exponent of the memory for {what} up to {max(took):,} operations", exponent(mib), MOST_EXPONENT))
    return report(
        goals,
        f"{sizes[-1]:,} operations become the {last['files']:,} files of three targets in {last['seconds']:.1f} processor seconds, "
        f"{times:.1f} times as long as json.dumps takes for the same files.",
    )


def _least(tries: list[dict[str, Any]]) -> dict[str, Any]:
    """Every figure at its least, for the machine is shared."""
    return {name: min(one[name] for one in tries) for name in tries[0]}


def _compiled(folder: Path, operations: int, targets: tuple[str, ...]) -> dict[str, Any]:
    """What the compilation of one graph took."""
    path = folder / f"{operations}.json"
    path.write_text(document(operations))
    command = [sys.executable, HERE / "compilers" / "xcs.py", path, *targets]
    took: dict[str, Any] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    times = took["seconds"] / took["dumps_s"]
    say(
        f"  {operations:7,} {took['tasks']:6,} {took['files']:6,} {took['seconds']:8.2f} s ({took['plan_s']:6.2f} s) "
        f"{times:6.1f} times {took['mib']:6.0f} MiB  {', '.join(targets)}"
    )
    return took


if __name__ == "__main__":
    sys.exit(main())
