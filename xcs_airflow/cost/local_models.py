"""How large a local model is and how fast it writes on which hardware: measured for one model, assumed for others.

It knows the rows of data/local_models.json and what a name tells; it does not know prices or platforms.
"""

from __future__ import annotations

import json
import math
import re
from functools import cache
from pathlib import Path

from pydantic import Field

from xcs_airflow.cost.compute import platforms
from xcs_airflow.ir.operation import Resources
from xcs_airflow.values import Frozen

_DATA = Path(__file__).parent / "data" / "local_models.json"
_PARAMETERS = re.compile(r"(?<![a-z0-9.])(\d+(?:\.\d+)?)([mb])(?![a-z0-9])", re.IGNORECASE)
_MILLIONS = {"m": 1, "b": 1000}


class Speed(Frozen):
    """How fast a model writes with some processors.

    Attributes:
        cpu: Virtual CPUs.
        times: How many times as fast as with one.
    """

    cpu: float
    times: float


class LocalModels(Frozen):
    """What is known about models in a task's own process.

    Attributes:
        speeds: By virtual CPUs, fewest first; more than the last gain nothing, as the runtime uses no more.
        reference_millions: Parameters, in millions, of the model that assumptions about local calls were measured with.
        unknown_millions: The same of a model whose name does not tell.
        mib_per_million: Memory in MiB that the weights of a million parameters take.
        room: By what they are multiplied for what the model keeps besides.
        engine_mib: Memory in MiB of the process without a model.
        as_of: The date, YYYY-MM-DD, it was measured.
        source: What was measured, and what is an assumption.
    """

    speeds: tuple[Speed, ...]
    reference_millions: float
    unknown_millions: float
    mib_per_million: float
    room: float
    engine_mib: int
    as_of: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$")
    source: str


@cache
def local_models() -> LocalModels:
    """The figures."""
    return LocalModels.model_validate(json.loads(_DATA.read_bytes()))


def told_millions(model: str) -> float | None:
    """The parameters of a model in millions as its name tells them, as in `smollm2-135m` or `qwen2.5-0.5b`; None when it does not."""
    found = _PARAMETERS.search(model)
    return None if found is None else float(found[1]) * _MILLIONS[found[2].lower()]


def weights_mib(model: str) -> int:
    """Memory in MiB that a model takes, wherever it is loaded."""
    known = local_models()
    millions = told_millions(model) or known.unknown_millions
    return math.ceil(millions * known.mib_per_million * known.room)


def memory_mib(model: str) -> int:
    """Memory in MiB of a task that has a model in its process."""
    return local_models().engine_mib + weights_mib(model)


def times_as_fast(model: str, resources: Resources) -> float:
    """How many times as fast a model writes with some resources as the reference model with one virtual CPU.

    Args:
        model: Its name.
        resources: A GPU that is not known counts as none.
    """
    known = local_models()
    size = (told_millions(model) or known.unknown_millions) / known.reference_millions
    gpus = {gpu.name: gpu.speed.expected for platform in platforms().values() for gpu in platform.gpus}
    on_gpu = gpus.get(resources.gpu_type or "") if resources.gpu else None
    if on_gpu is not None:
        return on_gpu / size
    usable = [speed.times for speed in known.speeds if speed.cpu <= resources.cpu]
    return (usable[-1] if usable else known.speeds[0].times) / size
