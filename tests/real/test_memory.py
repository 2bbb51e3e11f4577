"""How much memory a task holds, as the kernel says: the quick form of the benchmark, with a hundred thousand items."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.real

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "memory.py"


def test_a_hundred_thousand_items_stay_under_300_mib():
    done = subprocess.run([sys.executable, BENCHMARK, "--quick"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "A task of 100,000 items, 10,000 of them answered live, holds " in done.stdout.splitlines()[-1]
