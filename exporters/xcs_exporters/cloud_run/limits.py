"""What the platform allows, read from `limits.toml`: sizes of containers, and numbers that must not be exceeded.

It knows the table; it does not know plans or files.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from xcs_airflow.ir.operation import Resources


@dataclass(frozen=True)
class Size:
    """What one container gets.

    Attributes:
        cpu: Virtual CPUs.
        memory_mib: Memory in MiB.
    """

    cpu: int
    memory_mib: int


def limit(name: str) -> int:
    """One number of `limits.toml`."""
    value: int = _table()["limits"][name]["value"]
    return value


def gpu_types() -> list[str]:
    """The accelerators a job can have."""
    return sorted(_table()["gpus"])


def smallest_size(need: Resources) -> Size | None:
    """The smallest size that holds what a task needs, rounded up; None when even the largest does not.

    Args:
        need: What the task asks for; with a GPU, the least that accelerator takes is added.
    """
    cpu, memory_mib = need.cpu, need.memory_mib
    if need.gpu:
        least = _table()["gpus"][need.gpu_type or gpu_types()[0]]
        cpu, memory_mib = max(cpu, least["cpu"]), max(memory_mib, least["memory_mib"])
    for row in _table()["sizes"]:
        if row["cpu"] >= cpu and row["memory_mib"]["most"] >= memory_mib:
            return Size(row["cpu"], max(memory_mib, row["memory_mib"]["least"]))
    return None


def is_size(size: Size) -> bool:
    """Whether the platform takes this pair as it is."""
    return smallest_size(Resources(cpu=size.cpu, memory_mib=size.memory_mib)) == size


def largest_size() -> Size:
    """The last row of the table."""
    row = _table()["sizes"][-1]
    return Size(row["cpu"], row["memory_mib"]["most"])


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("limits.toml").read_text(encoding="utf-8"))
