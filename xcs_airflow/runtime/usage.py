"""What a run used: all segments of its ledger, added up.

It knows runs; `segments.py` knows where their books lie, `books.py` what they say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from xcs_airflow.runtime.books import Account, Period, Price, Usage, summed, total
from xcs_airflow.runtime.pricing import price_of
from xcs_airflow.runtime.runs import Run
from xcs_airflow.runtime.segments import all_books
from xcs_airflow.runtime.settings import RuntimeSettings
from xcs_airflow.runtime.store import Store, open_store


@dataclass(frozen=True, slots=True)
class RunUsage:
    """What a run used so far, over all attempts of all its tasks.

    Attributes:
        pipeline: The pipeline's name.
        run_id: The run.
        operations: By operation, model and mechanism, in alphabetical order.
        periods: When each of these was used, as far as records say.
        attempts: How many attempts and batches have books.
        open_attempts: How many of these did not come to their end: they are at work, or dead.
    """

    pipeline: str
    run_id: str
    operations: tuple[Usage, ...]
    periods: Mapping[Account, Period] = field(default_factory=dict)
    attempts: int = 0
    open_attempts: int = 0

    @property
    def total(self) -> Usage:
        """The sum of all operations."""
        return total(self.operations)

    @property
    def period(self) -> Period | None:
        """From when to when calls were made; None when no record says."""
        periods = self.periods.values()
        return Period(min(each.begin for each in periods), max(each.end for each in periods)) if periods else None

    def to_dict(self) -> dict[str, Any]:
        """The JSON form; money as decimal text."""
        operations = [usage.to_dict() for usage in self.operations]
        whole = {name: value for name, value in self.total.to_dict().items() if name not in Account._fields}
        return {"pipeline": self.pipeline, "run_id": self.run_id, "operations": operations, "total": whole}


def run_usage(settings: RuntimeSettings, pipeline: str, run_id: str) -> RunUsage:
    """What a run used so far; nothing when there was no such run.

    Args:
        settings: Where the store is, and which prices attempts that did not come to their end are valued at.
        pipeline: The pipeline's name.
        run_id: The run.

    Raises:
        RuntimeTaskError: The store cannot be used.
        PlanError: The price file is not valid.
    """
    return usage_in(open_store(settings.store), price_of(settings.prices), Run.named(pipeline, run_id))


def usage_in(store: Store, price: Price, run: Run) -> RunUsage:
    """The same, from a store that is open.

    Args:
        store: Where the books are.
        price: What the calls of attempts that did not come to their end cost.
        run: Which run.
    """
    usages: list[Usage] = []
    periods: dict[Account, Period] = {}
    attempts = open_attempts = 0
    for _, books in all_books(store, f"{run.folder}/ledger", price):
        attempts += 1
        open_attempts += not books.is_closed
        for usage in books.usage(price):
            usages.append(usage)
            if books.period is not None:
                known = periods.get(usage.account, books.period)
                periods[usage.account] = Period(min(known.begin, books.period.begin), max(known.end, books.period.end))
    return RunUsage(run.pipeline, run.run_id, tuple(summed(usages)), periods, attempts, open_attempts)
