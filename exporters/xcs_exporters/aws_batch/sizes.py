"""Which sizes a job can have on AWS Batch: the Fargate table and the GPU instance families, both dated data files.

It knows sizes; it does not know tasks or job definitions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any


@dataclass(frozen=True, slots=True)
class FargateSize:
    """A pair that Fargate offers.

    Attributes:
        vcpu: As Batch wants it written, as in `0.25`.
        memory_mib: Memory in MiB.
    """

    vcpu: str
    memory_mib: int


@dataclass(frozen=True, slots=True)
class GpuFamily:
    """EC2 instances with one kind of GPU.

    Attributes:
        accelerator: The GPU, as in `nvidia-l4`.
        family: The instance family, as in `g6`.
        most_gpus: GPUs of its largest instance.
    """

    accelerator: str
    family: str
    most_gpus: int


@cache
def fargate_sizes() -> Mapping[str, tuple[int, ...]]:
    """The memory sizes in MiB of every Fargate vCPU size, smallest first."""
    table: dict[str, list[int]] = _data("fargate_sizes.json")["memory_mib_by_vcpu"]
    return {vcpu: tuple(sizes) for vcpu, sizes in table.items()}


def fargate_size(cpu: float, memory_mib: int) -> FargateSize | None:
    """The smallest Fargate size with at least this much; None when there is none so large."""
    for vcpu, sizes in fargate_sizes().items():
        memory = next((size for size in sizes if size >= memory_mib), None)
        if float(vcpu) >= cpu and memory is not None:
            return FargateSize(vcpu, memory)
    return None


def is_fargate_size(vcpu: str, memory_mib: str) -> bool:
    """Whether Fargate offers this pair, written as in a job definition."""
    return memory_mib in {str(size) for size in fargate_sizes().get(vcpu, ())}


@cache
def gpu_families() -> Mapping[str, GpuFamily]:
    """Accelerator to the instances that have it."""
    table: dict[str, dict[str, Any]] = _data("gpu_families.json")["families"]
    return {name: GpuFamily(name, row["family"], row["most_gpus"]) for name, row in table.items()}


def gpu_family(accelerator: str | None) -> GpuFamily | None:
    """The instances with an accelerator; None when it is not known.

    Args:
        accelerator: As in `nvidia-l4`; None takes the table's default.
    """
    return gpu_families().get(accelerator or _data("gpu_families.json")["default"])


@cache
def _data(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(files(__package__).joinpath("data", name).read_text(encoding="utf-8"))
    return document
