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


def cpu_seconds_of(start_xcs, *arguments):
    """What a process takes for itself, whatever else the machine does; the best of three, because caches get warm."""
    times = []
    for _ in range(3):
        begun = os.times()
        assert start_xcs(*arguments, script="xcs-export").returncode == 0
        ended = os.times()
        times.append(ended.children_user - begun.children_user + ended.children_system - begun.children_system)
    return min(times)


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
    assert cpu_seconds_of(start_xcs, "--help") < 0.3


def test_an_export_takes_little(start_xcs):
    """Well below a second on an idle machine; busy neighbours make the same work take longer, even of a processor's own time."""
    assert cpu_seconds_of(start_xcs, "pipeline.py:triage", "--target", "aws-batch") < 2
