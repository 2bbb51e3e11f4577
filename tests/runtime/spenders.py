"""Starts processes that spend from one budget, and knows what they really paid."""

import subprocess
import sys
from decimal import Decimal
from pathlib import Path

from .money import PER_TOKEN

ROOT = Path(__file__).parents[2]


class Spenders:
    """The processes of one run.

    Args:
        store: The address of their store.
        bills: A folder in which each leaves what it paid.
        budget: What they may spend together.
    """

    def __init__(self, store, bills, budget):
        self.store = store
        self.bills = bills
        self.budget = budget
        self.processes = {}

    def start(self, name, calls, act="spend"):
        command = [sys.executable, "-m", "tests.runtime.spender", self.store, self.bills, name, self.budget, calls, act]
        process = subprocess.Popen(list(map(str, command)), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.processes[name] = process
        return process

    def go(self, *names):
        """Let them begin together, once all have started."""
        for name in names:
            assert self.processes[name].stdout.readline() == "ready\n"
        for name in names:
            self.processes[name].stdin.write("\n")
            self.processes[name].stdin.flush()

    def ended(self, name):
        """What a process said at its end."""
        output, _ = self.processes[name].communicate(timeout=120)
        assert self.processes[name].returncode == 0
        return output.strip()

    def paid(self, name):
        path = Path(self.bills, f"{name}.bill")
        return sum(map(int, path.read_text().split()), 0) * PER_TOKEN if path.exists() else Decimal(0)

    @property
    def paid_by_all(self):
        return sum(map(self.paid, self.processes), start=Decimal(0))

    def close(self):
        for process in self.processes.values():
            process.kill()
            process.communicate()
