"""What the platform allows: sizes of containers, which plans are priced with, too, and the numbers of `limits.toml`.

It knows the tables; it does not know plans or files.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from xcs_airflow.cost.compute import platforms
from xcs_airflow.ir.operation import Resources

_PLATFORM = "cloud-run"


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
    return sorted(platforms()[_PLATFORM].gpu_by_name)


def smallest_size(need: Resources) -> Size | None:
    """The smallest size that holds what a task needs, rounded up; None when even the largest does not.

    Args:
        need: What the task asks for; with a GPU, the least that accelerator takes is added.
    """
    kind = (need.gpu_type or gpu_types()[0]) if need.gpu else None
    size = platforms()[_PLATFORM].size_for(need.model_copy(update={"gpu_type": kind}))
    return None if size is None else Size(int(size.cpu), size.memory_mib)


def is_size(size: Size) -> bool:
    """Whether the platform takes this pair as it is."""
    return smallest_size(Resources(cpu=size.cpu, memory_mib=size.memory_mib)) == size


def largest_size() -> Size:
    """The last row of the table."""
    row = platforms()[_PLATFORM].sizes[-1]
    return Size(int(row.cpu), row.memory_mib[-1])


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("limits.toml").read_text(encoding="utf-8"))
