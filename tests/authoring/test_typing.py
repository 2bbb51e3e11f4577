"""Type checkers see through the decorators."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FILE = Path(__file__).with_name("typed_api.py")


def test_mypy_knows_the_types_and_refuses_exactly_what_is_marked():
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(FILE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])

    refused = {number for number, line in enumerate(FILE.read_text(encoding="utf-8").splitlines(), 1) if line.endswith("# refused")}
    errors = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert {int(line.split(":")[1]) for line in errors} == refused, done.stdout
