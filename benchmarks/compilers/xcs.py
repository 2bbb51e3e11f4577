"""Compiles a graph file once, all the way to the bytes of its bundles, and tells what that took as one JSON object.

    python benchmarks/compilers/xcs.py GRAPH.json TARGET [TARGET ...]

It goes the way of `xcs-export`, stage by stage, but for writing files. Imports are not timed. The baseline is measured after it: every
emitted JSON file is parsed (any other file counts as one text), and `json.dumps` writes all of them; the best of several times counts.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterable

# What stages would import when they are reached.
import genai_prices.data
import genai_prices.data_snapshot  # noqa: F401
import orjson  # noqa: F401

import xcs_airflow.passes
import xcs_airflow.plan  # noqa: F401
from xcs_airflow.cli import stages
from xcs_airflow.exporting.bundle import Bundle
from xcs_airflow.exporting.image import Image
from xcs_airflow.exporting.registry import load_exporter
from xcs_airflow.exporting.settings import ProjectSettings
from xcs_airflow.garbage import GRAPHS, collected_seldom

TRIES = 5


def main(graph: str, targets: list[str]) -> None:
    """Compile, then measure the baseline, then print."""
    for target in targets:
        load_exporter(target)
    began = time.process_time()
    rendered, plan_s = _rendered(graph, targets)
    ended = time.process_time()
    # Parsing for the baseline takes memory, too, so the most is read before it.
    mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    artifacts = list(_artifacts(item.bundle for item in rendered))
    took = {
        "tasks": len(rendered[0].plan.tasks),
        "files": len(artifacts),
        "plan_s": plan_s,
        "seconds": ended - began,
        "mib": mib,
        "dumps_s": min(_dumps_s(artifacts) for _ in range(TRIES)),
    }
    sys.stdout.write(json.dumps(took))


@collected_seldom(GRAPHS)
def _rendered(graph: str, targets: list[str]) -> tuple[list[stages.Rendered], float]:
    """The bundles for all targets, and the processor seconds of all that comes before their files."""
    began = time.process_time()
    source = stages.Source(graph, None)
    code = source.pipeline.code()
    plan_s = time.process_time() - began
    rendered = []
    for target in targets:
        before = time.process_time()
        planned = source.planned(target)
        plan_s += time.process_time() - before
        rendered.append(stages.render(planned, target, ProjectSettings(), code, Image()))
    return rendered, plan_s


def _artifacts(bundles: Iterable[Bundle]) -> Iterable[object]:
    for bundle in bundles:
        for path, content in bundle.files.items():
            yield json.loads(content) if path.endswith(".json") else content.decode()


def _dumps_s(artifacts: list[object]) -> float:
    began = time.process_time()
    for artifact in artifacts:
        json.dumps(artifact)
    return time.process_time() - began


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
