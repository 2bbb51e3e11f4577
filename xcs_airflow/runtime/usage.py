"""What a run used: all segments of its ledger, added up.

It knows where segments lie; `ledger.py` knows what they say.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any

from xcs_airflow.runtime.ledger import Books, Usage, total
from xcs_airflow.runtime.results import run_folder
from xcs_airflow.runtime.settings import RuntimeSettings
from xcs_airflow.runtime.store import lines_of, open_store, segment_of
from xcs_airflow.runtime.task import price_of


@dataclass(frozen=True, slots=True)
class RunUsage:
    """What a run used so far, over all attempts of all its tasks.

    Attributes:
        pipeline: The pipeline's name.
        run_id: The run.
        operations: By operation and model, in alphabetical order.
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
        whole = {name: value for name, value in self.total.to_dict().items() if name not in ("operation", "model")}
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
    store = open_store(settings.store)
    price = price_of(settings.prices)
    sums: dict[tuple[str, str], Usage] = {}
    names = store.list(f"{run_folder(pipeline, run_id)}/ledger")
    for _, parts in groupby(names, key=segment_of):
        lines = (line for part in parts for line in lines_of(store.chunks(part)))
        for usage in Books.read(lines).usage(price):
            place = usage.operation, usage.model
            sums[place] = sums[place] + usage if place in sums else usage
    return RunUsage(pipeline, run_id, tuple(sums[place] for place in sorted(sums)))
