"""What starting and running a task costs on each platform, and which sizes it can have: dated rows with their source.

It knows the rows of data/compute.json; it does not know graphs, nor how long a task works.
"""

from __future__ import annotations

import json
from decimal import ROUND_CEILING, Decimal
from functools import cache, cached_property
from pathlib import Path

from pydantic import Field

from xcs_airflow.cost.figures import Figure, Money
from xcs_airflow.ir.operation import Resources
from xcs_airflow.values import Frozen

_DATA = Path(__file__).parent / "data" / "compute.json"
_HOUR_S = 3600
_GIB_MIB = 1024
_DATE = r"^\d{4}-\d{2}-\d{2}$"


class CpuSize(Frozen):
    """Sizes with one number of virtual CPUs.

    Attributes:
        cpu: Virtual CPUs.
        memory_mib: The sizes of memory in MiB, smallest first.
        any_between: Whether any memory between the first and the last is one, too.
    """

    cpu: float
    memory_mib: tuple[int, ...] = Field(min_length=1)
    any_between: bool = False

    def memory_for(self, memory_mib: int) -> int | None:
        """The least memory with at least so many MiB; None when there is none so large."""
        if self.any_between and self.memory_mib[0] <= memory_mib <= self.memory_mib[-1]:
            return memory_mib
        return next((size for size in self.memory_mib if size >= memory_mib), None)


class GpuClass(Frozen):
    """One kind of GPU.

    Attributes:
        name: As in `nvidia-l4`.
        memory_gib: Its memory in GiB.
        usd_per_h: What one costs per hour in US dollars; None when nobody knows.
        speed: How many times as fast as two processors a local model writes on it.
        cpu: The fewest virtual CPUs beside it.
        memory_mib: The least memory in MiB beside it.
        most: How many one task can have.
        family: The instances that have it, where instances are what is started.
        as_of: The date, YYYY-MM-DD, it was looked up.
        source: Where it comes from.
    """

    name: str
    memory_gib: float
    usd_per_h: Decimal | None
    speed: Figure
    cpu: float
    memory_mib: int
    most: int
    family: str | None
    as_of: str = Field(pattern=_DATE)
    source: str


class Platform(Frozen):
    """One target and what a task costs there.

    Attributes:
        name: As after `--target`.
        start_s: Seconds from when a task could start until its process works.
        billed_start_s: How many of them are billed; None where nothing is.
        min_billed_s: Seconds that every start is billed at least.
        billing_step_s: What billed seconds are rounded up to.
        usd_per_vcpu_h: US dollars for one virtual CPU for an hour; None when nobody knows.
        usd_per_gib_h: US dollars for one GiB for an hour; None when nobody knows.
        places: How many tasks of one run work at a time; None when as many as want to.
        max_task_s: The longest that one start may take in seconds; None when there is no limit.
        sizes: Which sizes a task without a GPU can have, smallest first; empty when it has what its worker gives it.
        gpus: Which GPUs it can have.
        gpu_start_s: Like `start_s`, with a GPU; None where there is none.
        max_gpu_task_s: Like `max_task_s`, with a GPU.
        gpu_is_whole_machine: Whether the price of a GPU is that of the machine it is in, from its start to its end.
        as_of: The date, YYYY-MM-DD, it was looked up.
        source: Where it comes from.
    """

    name: str
    start_s: Figure
    billed_start_s: float | None
    min_billed_s: float
    billing_step_s: Decimal
    usd_per_vcpu_h: Decimal | None
    usd_per_gib_h: Decimal | None
    places: int | None = None
    max_task_s: float | None
    sizes: tuple[CpuSize, ...]
    gpus: tuple[GpuClass, ...]
    gpu_start_s: Figure | None
    max_gpu_task_s: float | None
    gpu_is_whole_machine: bool
    as_of: str = Field(pattern=_DATE)
    source: str

    @cached_property
    def gpu_by_name(self) -> dict[str, GpuClass]:
        """Its GPUs by their names."""
        return {gpu.name: gpu for gpu in self.gpus}

    @property
    def smallest(self) -> Resources:
        """The least that a task can have; where it has what its worker gives it, what it asks for by default."""
        return Resources(cpu=self.sizes[0].cpu, memory_mib=self.sizes[0].memory_mib[0]) if self.sizes else Resources()

    def start_of(self, resources: Resources) -> Figure:
        """Seconds until a task with such resources works."""
        return self.gpu_start_s if resources.gpu and self.gpu_start_s is not None else self.start_s

    def billed_start_of(self, resources: Resources) -> float:
        """How many seconds of a start are billed, or hold a worker where nothing is billed."""
        if self.billed_start_s is None or (resources.gpu and self.gpu_is_whole_machine):
            return self.start_of(resources).expected
        return self.billed_start_s

    def longest_s(self, resources: Resources) -> float | None:
        """The longest that one start may take in seconds; None when there is no limit."""
        return self.max_gpu_task_s if resources.gpu else self.max_task_s

    def size_for(self, resources: Resources) -> Resources | None:
        """What a task really gets that asks for so much: the next size up, or as asked where there are no sizes; None when too large.

        Args:
            resources: What it asks for; a GPU brings the least it needs beside it.
        """
        gpu = self.gpu_by_name.get(resources.gpu_type or "") if resources.gpu else None
        cpu, memory_mib = resources.cpu, resources.memory_mib
        if gpu is not None:
            cpu, memory_mib = max(cpu, gpu.cpu), max(memory_mib, gpu.memory_mib)
        if not self.sizes or (resources.gpu and self.gpu_is_whole_machine):
            return resources.model_copy(update={"cpu": cpu, "memory_mib": memory_mib})
        for size in self.sizes:
            memory = size.memory_for(memory_mib)
            if size.cpu >= cpu and memory is not None:
                return resources.model_copy(update={"cpu": size.cpu, "memory_mib": memory})
        return None

    def billed_s(self, resources: Resources, seconds: float) -> float:
        """Seconds that one start is billed for, or holds a worker where nothing is billed.

        Args:
            resources: What it may use.
            seconds: How long it works, without its start.
        """
        billed = max(self.min_billed_s, seconds + self.billed_start_of(resources))
        steps = (Decimal(repr(billed)) / self.billing_step_s).to_integral_value(ROUND_CEILING)
        return float(steps * self.billing_step_s)

    def usd_per_h(self, resources: Resources) -> Decimal | None:
        """What a task with such resources costs per hour in US dollars; None when nobody knows, or there is no such size."""
        size = self.size_for(resources)
        gpu = self.gpu_by_name.get(resources.gpu_type or "") if resources.gpu else None
        if size is None or (resources.gpu and (gpu is None or gpu.usd_per_h is None)):
            return None
        gpus = gpu.usd_per_h * resources.gpu if gpu is not None and gpu.usd_per_h is not None else Decimal(0)
        if gpu is not None and self.gpu_is_whole_machine:
            return gpus
        if self.usd_per_vcpu_h is None or self.usd_per_gib_h is None:
            return None
        return gpus + Decimal(repr(size.cpu)) * self.usd_per_vcpu_h + Decimal(size.memory_mib) / _GIB_MIB * self.usd_per_gib_h


def task_cost_usd(platform: Platform, resources: Resources, seconds: Figure | float) -> Money:
    """What one start of a task costs: its seconds and the billed part of its start, but never less than the minimum.

    Args:
        platform: Where it runs.
        resources: What it may use; it pays for the size it gets, which may be larger.
        seconds: How long it works, without its start.

    Returns:
        US dollars. What has no known price, as a worker of Airflow, is in `unknown` and never zero.
    """
    ends = seconds if isinstance(seconds, Figure) else Figure.exactly(seconds)
    per_hour = platform.usd_per_h(resources)
    if per_hour is None:
        return Money(unknown=(f"{platform.name} {resources.gpu_type or 'task'}" if resources.gpu else f"{platform.name} task",))

    def cost(worked_s: float) -> Decimal:
        return Decimal(repr(platform.billed_s(resources, worked_s))) * per_hour / _HOUR_S

    return Money(low=cost(ends.low), expected=cost(ends.expected), high=cost(ends.high))


class _Rows(Frozen):
    platforms: tuple[Platform, ...]


@cache
def platforms() -> dict[str, Platform]:
    """Every platform by its name."""
    return {row.name: row for row in _Rows.model_validate(json.loads(_DATA.read_bytes())).platforms}


def platform_of(target: str | None) -> Platform | None:
    """The platform of a target; None when the target is not known, or nothing is known about it."""
    return None if target is None else platforms().get(target)
