"""Which sizes a job can have on AWS Batch, as Batch wants them written: Fargate's pairs, and instances with a GPU.

It knows how sizes are written and rounded up; the tables are those that plans are priced with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from xcs_airflow.cost.compute import platforms

_PLATFORM = "aws-batch"
_DEFAULT_GPU = "nvidia-l4"


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
    return {f"{size.cpu:g}": size.memory_mib for size in platforms()[_PLATFORM].sizes}


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
    return {gpu.name: GpuFamily(gpu.name, gpu.family, gpu.most) for gpu in platforms()[_PLATFORM].gpus if gpu.family is not None}


def gpu_family(accelerator: str | None) -> GpuFamily | None:
    """The instances with an accelerator; None when it is not known.

    Args:
        accelerator: As in `nvidia-l4`; None takes the default.
    """
    return gpu_families().get(accelerator or _DEFAULT_GPU)
