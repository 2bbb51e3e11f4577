"""Starting is quick: what a command does not need is not imported, and no SDK ever is."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SDKS = ("airflow", "aiohttp", "anthropic", "boto3", "botocore", "google", "httpx", "obstore", "openai", "redis", "xllamacpp")
BUILT_IN = ("airflow", "aws-batch", "cloud-run")


def modules_after(arguments, module="export"):
    """Everything that a process has imported when a command ends."""
    code = f"""
import sys
from xcs_airflow.cli.{module} import main
sys.argv[1:] = {list(arguments)!r}
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


def cpu_seconds_of(*starts):
    """What processes take for themselves, whatever else the machine does: each in turn, and its best of three, because caches get warm."""
    times = [[] for _ in starts]
    for _ in range(3):
        for start, taken in zip(starts, times, strict=True):
            begun = os.times()
            assert start().returncode == 0
            ended = os.times()
            taken.append(ended.children_user - begun.children_user + ended.children_system - begun.children_system)
    return [min(taken) for taken in times]


@pytest.mark.parametrize(
    ("module", "arguments"),
    [("export", ["--help"]), ("main", ["--help"]), ("main", ["run", "--help"]), ("main", ["cache", "stats", "--help"])],
)
def test_help_imports_neither_models_nor_templates(project, module, arguments):
    assert modules_after(arguments, module) & {*SDKS, "pydantic", "jinja2", "rustworkx", "genai_prices", "asyncio"} == set()


@pytest.mark.parametrize("target", BUILT_IN)
def test_an_export_imports_no_sdk(project, target):
    assert modules_after(["pipeline.py:triage", "--target", target]) & set(SDKS) == set()


def test_help_is_there_at_once(start_xcs):
    (seconds,) = cpu_seconds_of(lambda: start_xcs("--help", script="xcs-export"))
    assert seconds < 0.3


def test_an_export_takes_little_more_than_to_load_its_libraries(start_xcs):
    """Measured side by side: what a second of a processor is worth depends on the machine and on its neighbours."""
    libraries = [sys.executable, "-c", "import click, genai_prices, jinja2, pydantic, rustworkx; pydantic.BaseModel"]
    loading, exporting = cpu_seconds_of(
        lambda: subprocess.run(libraries, check=False, timeout=120),
        lambda: start_xcs("pipeline.py:triage", "--target", "aws-batch", script="xcs-export"),
    )
    assert exporting < 2.3 * loading, f"{exporting:.2f} s, and {loading:.2f} s to load libraries"
