"""What a look into the cache before a dear start costs, how often it finds everything, and what that spares.

It knows sizes, starts and what runs measured; whether a task may be probed is the question of `passes.probe_before_start`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from xcs_airflow.cost.assumptions import Assumed, rows
from xcs_airflow.cost.compute import Platform, task_cost_usd
from xcs_airflow.cost.figures import Figure, MeasuredOperation
from xcs_airflow.cost.latency import goes_through_batch_api
from xcs_airflow.ir.llm_ops import LLMOperation
from xcs_airflow.ir.operation import Operation, Resources


class Bet(NamedTuple):
    """What it means for one run to probe a task before it is started.

    Attributes:
        chance: How likely all is known, from 0 to 1.
        probe_usd: What the probe costs in US dollars; None when nobody knows.
        probe_s: Seconds that it takes.
        spared_usd: What the starts of the task cost in US dollars where they find everything known; None when nobody knows.
        spared_s: Seconds that they take.
        workers: As how many workers without a GPU the one of the task counts.
        saves_worker_s: Seconds of such workers that are saved on average.
    """

    chance: float
    probe_usd: Decimal | None
    probe_s: float
    spared_usd: Decimal | None
    spared_s: float
    workers: float
    saves_worker_s: float

    @property
    def saves_usd(self) -> Decimal | None:
        """US dollars that are saved on average; None when nobody knows."""
        if self.probe_usd is None or self.spared_usd is None:
            return None
        return Decimal(repr(self.chance)) * self.spared_usd - self.probe_usd

    @property
    def saves_s(self) -> float:
        """Seconds by which the task ends earlier on average; negative where it ends later."""
        return self.chance * self.spared_s - self.probe_s


class Starts:
    """What starts cost on a platform before they do any work, each size looked up once.

    Args:
        platform: Where tasks run.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._least = platform.smallest
        self._usd: dict[tuple[float, int, int, str | None], Decimal | None] = {}

    def is_dear(self, resources: Resources) -> bool:
        """Whether a start costs more than one of the smallest size; where no price is known, whether it has a GPU."""
        usd, least_usd = self._start_usd(resources), self._start_usd(self._least)
        return resources.gpu > 0 if usd is None or least_usd is None else usd > least_usd

    def bet(self, resources: Resources, shards: int, chance: float) -> Bet:
        """What it means to probe a task.

        Args:
            resources: What one start of it may use.
            shards: How many starts it has; one probe looks after all of them.
            chance: How likely all is known, from 0 to 1.
        """
        platform, least, start_usd = self._platform, self._least, self._start_usd(resources)
        probe_s, spared_s = (platform.start_of(each).expected for each in (least, resources))
        workers = rows()["gpu_worker"].expected if resources.gpu else 1.0
        saves_worker_s = chance * shards * workers * platform.billed_s(resources, 0.0) - platform.billed_s(least, 0.0)
        spared_usd = None if start_usd is None else start_usd * shards
        return Bet(chance, self._start_usd(least), probe_s, spared_usd, spared_s, workers, saves_worker_s)

    def _start_usd(self, resources: Resources) -> Decimal | None:
        key = (resources.cpu, resources.memory_mib, resources.gpu, resources.gpu_type)
        if key not in self._usd:
            cost = task_cost_usd(self._platform, resources, 0.0)
            self._usd[key] = cost.expected if cost.is_complete else None
        return self._usd[key]


def is_probed(members: Sequence[Operation]) -> bool:
    """Whether a task is probed before it is started: all its operations ask for it, and none waits for a provider's batch."""
    return all(isinstance(operation, LLMOperation) and operation.probe and not goes_through_batch_api(operation) for operation in members)


def chance_of(members: Sequence[str], measured: Mapping[str, MeasuredOperation], assumed: Assumed | None = None) -> Figure:
    """How likely all answers of a task are known, from 0 to 1: at worst never, at best always.

    Each run in which everything came from the cache counts, and so does what is assumed before runs tell, as much as one run. The
    answers of several operations are known together, so the least likely one decides.

    Args:
        members: The operations of the task.
        measured: What earlier runs say of operations, by their names.
        assumed: Takes note of what is guessed; None takes none.
    """
    guess = rows()["all_known"].figure
    chances: list[float] = []
    for name in members:
        entry = measured.get(name)
        chances.append(guess.expected if entry is None else (entry.known_runs + guess.expected) / (entry.runs + 1))
        if assumed is not None:
            assumed.use("all_known", name)
    is_measured = any(name in measured for name in members)
    return Figure(low=guess.low, expected=min(chances), high=guess.high, source="profile" if is_measured else "assumed")
