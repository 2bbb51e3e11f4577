"""What a run used: all segments of its ledger, added up.

It knows runs; `segments.py` knows where their books lie, `ledger.py` what they say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from xcs_airflow.runtime.books import Account, Usage, total
from xcs_airflow.runtime.pricing import price_of
from xcs_airflow.runtime.results import run_folder
from xcs_airflow.runtime.segments import all_books
from xcs_airflow.runtime.settings import RuntimeSettings
from xcs_airflow.runtime.store import open_store


@dataclass(frozen=True, slots=True)
class RunUsage:
    """What a run used so far, over all attempts of all its tasks.

    Attributes:
        pipeline: The pipeline's name.
        run_id: The run.
        operations: By operation, model and mechanism, in alphabetical order.
    """

    pipeline: str
    run_id: str
    operations: tuple[Usage, ...]

    @property
    def total(self) -> Usage:
        """The sum of all operations."""
        return total(self.operations)

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
    price = price_of(settings.prices)
    sums: dict[Account, Usage] = {}
    for _, books in all_books(open_store(settings.store), f"{run_folder(pipeline, run_id)}/ledger", price):
        for usage in books.usage(price):
            sums[usage.account] = sums[usage.account] + usage if usage.account in sums else usage
    return RunUsage(pipeline, run_id, tuple(sums[account] for account in sorted(sums)))
