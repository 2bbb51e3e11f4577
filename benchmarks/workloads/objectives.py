"""What authors may want of the workload, and which of all ways of making its calls was best for that, by measurement.

It knows policies and what stages cost and took; it does not know how either was estimated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean

from workloads.running import Measured, Part
from workloads.support import STAGES

from xcs_airflow.ir import PipelinePolicy
from xcs_airflow.ir.llm_ops import Mechanism

_HOUR_S = 3600
_ROOM_S = 73 * _HOUR_S
"""Room for three batches of a day, one after the other, and an hour more."""

Ways = tuple[Mechanism, ...]
"""How the calls of each stage are made."""


@dataclass(frozen=True)
class Row:
    """What an author wants, and allows.

    Attributes:
        wanted: In words.
        allowed: In words.
        policy: What the pipeline says.
        pack: The most items of one request.
    """

    wanted: str
    allowed: str
    policy: PipelinePolicy
    pack: int = 1

    @property
    def legal(self) -> Ways:
        """The ways in which calls may be made."""
        packed: Ways = ("packed",) if self.pack > 1 else ()
        batch: Ways = ("provider_batch",) if self.policy.deadline_s is not None else ()
        return ("concurrent", *packed, *batch)

    def worth(self, part: Part) -> float:
        """What something measured is worth, the less the better: money, seconds, or the sum of money and the price of time."""
        if self.policy.optimize == "cost":
            return part.usd
        if self.policy.optimize == "latency":
            return part.seconds
        return part.usd + part.seconds / _HOUR_S * float(self.policy.hour_usd)


SITUATIONS = {
    "no deadline": (None, False),
    "room for batches": (_ROOM_S, False),
    "packs": (None, True),
    "packs, room for batches": (_ROOM_S, True),
}
"""The deadline in seconds, and whether items may share a request."""


def rows(pack: int, *, situations: Iterable[str], hours_usd: Iterable[int]) -> list[Row]:
    """Every objective in every situation.

    Args:
        pack: The most items of one request, where packs are allowed.
        situations: Which.
        hours_usd: What an hour is worth in US dollars, where money and time are weighed against each other.
    """
    wanted = {"cost": PipelinePolicy(optimize="cost"), "latency": PipelinePolicy(optimize="latency")}
    wanted |= {f"an hour is worth {usd} USD": PipelinePolicy(optimize="balanced", hour_usd=usd) for usd in hours_usd}
    return [
        Row(want, allowed, policy.model_copy(update={"deadline_s": SITUATIONS[allowed][0]}), pack if SITUATIONS[allowed][1] else 1)
        for allowed in situations
        for want, policy in wanted.items()
    ]


class Known:
    """What every stage cost and took in every way in which its calls were made; the mean where that was several times."""

    def __init__(self) -> None:
        self._parts: dict[tuple[str, Mechanism], list[Part]] = {}

    def add(self, ways: Ways, measured: Measured) -> None:
        """Take note of a run."""
        for stage, way in zip(STAGES, ways, strict=True):
            self._parts.setdefault((stage, way), []).append(measured.stages[stage])

    def best(self, row: Row) -> Ways:
        """The best ways for what an author wants; stages follow each other, so each is best by itself."""
        return tuple(min(row.legal, key=lambda way, stage=stage: self._worth(row, stage, way)) for stage in STAGES)  # type: ignore[misc]

    def worth(self, row: Row, ways: Ways) -> float:
        """What ways are worth to an author."""
        return sum(self._worth(row, stage, way) for stage, way in zip(STAGES, ways, strict=True))

    def _worth(self, row: Row, stage: str, way: Mechanism) -> float:
        return fmean(row.worth(part) for part in self._parts[stage, way])


def ways_of(mechanisms: Mapping[str, Mechanism | None]) -> Ways:
    """How the calls of each stage are made, by the plan's operations."""
    return tuple(mechanisms[stage] or "concurrent" for stage in STAGES)
