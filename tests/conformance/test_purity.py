"""Emitting asks nobody and leaves no trace: no clock, no chance, no network, no SDK, and no order of sets in the result."""

import ast
import json
import os
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from xcs_airflow.exporting.registry import exporter_names
from xcs_airflow.ir import dumps

SCRIPT = Path(__file__).with_name("emission.py")
SDKS = {"airflow", "anthropic", "boto3", "botocore", "google.cloud", "google.protobuf", "obstore", "openai", "pytest"}
OUTSIDE = {"http", "os", "random", "secrets", "socket", "subprocess", "tempfile", "time", "urllib", "uuid"}


@cache
def emission(seed, documents):
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, SCRIPT], input=documents, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.fixture
def documents(graphs):
    return json.dumps({name: dumps(make()) for name, make in graphs.items()})


def test_the_seed_of_hashes_changes_no_byte(documents):
    first, second = (emission(seed, documents)["bundles"] for seed in ("0", "4711"))
    assert len(first) == len(json.loads(documents)) * len(exporter_names())
    assert first == second


def test_emitting_imports_no_sdk(documents):
    assert SDKS & set(emission("0", documents)["modules"]) == set()


def test_emitting_opens_starts_and_writes_nothing(documents):
    assert emission("0", documents)["touched"] == []


def test_an_exporter_imports_no_way_out_of_its_process(exporter):
    found = [f"{path.name}: {name}" for path, tree in modules(exporter) for name in imported(tree) if name.partition(".")[0] in OUTSIDE]
    assert found == []


def test_an_exporter_asks_no_clock(exporter):
    asked = {"now", "today", "utcnow"}
    found = [
        ast.unparse(node)
        for _, tree in modules(exporter)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in asked
    ]
    assert found == []


def modules(exporter):
    package = find_spec(type(exporter).__module__.rpartition(".")[0])
    return [(path, ast.parse(path.read_text(encoding="utf-8"))) for path in Path(package.origin).parent.rglob("*.py")]


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
