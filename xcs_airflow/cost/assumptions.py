"""What is guessed where nothing is declared: dated rows with their source, and a record of who relied on them.

It knows the rows of data/assumptions.json; it does not know what they are used for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache, cached_property
from pathlib import Path

from pydantic import Field

from xcs_airflow.cost.figures import Figure
from xcs_airflow.values import Frozen

_DATA = Path(__file__).parent / "data" / "assumptions.json"
_LONGEST_LIST = 3


class Assumption(Frozen):
    """One row: a number we guess until somebody declares or measures it.

    Attributes:
        name: Its key.
        low: At best.
        expected: The most likely.
        high: At worst.
        says: The sentence a reader sees; a format string over the numbers.
        as_of: The date, YYYY-MM-DD, it was looked up.
        source: Where it comes from, or that it is an assumption.
    """

    name: str
    low: float
    expected: float
    high: float
    says: str
    as_of: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$")
    source: str

    @cached_property
    def figure(self) -> Figure:
        """Its numbers."""
        return Figure(low=self.low, expected=self.expected, high=self.high, source="assumed")

    def sentence(self, users: str) -> str:
        """What it says, for whom, and who says so."""
        words = self.says.format(low=self.low, expected=self.expected, high=self.high)
        return f"{words}{users} [{self.source}; {self.as_of}]"


class _Rows(Frozen):
    rows: tuple[Assumption, ...]


@cache
def rows() -> dict[str, Assumption]:
    """Every assumption by its name."""
    return {row.name: row for row in _Rows.model_validate(json.loads(_DATA.read_bytes())).rows}


Use = tuple[str, str | None]
"""The name of an assumption, and the operation for which it was used; None for the run as a whole."""


class Assumed:
    """What one estimate relied on, and for which operations.

    Attributes:
        uses: Every use, in order.
    """

    def __init__(self, uses: Iterable[Use] = ()) -> None:
        self.uses = list(uses)

    def use(self, name: str, operation_id: str | None = None) -> Figure:
        """The numbers of an assumption, recorded as used by an operation, or by the run as a whole."""
        self.uses.append((name, operation_id))
        return rows()[name].figure

    def sentences(self) -> tuple[str, ...]:
        """Each assumption once, with who relied on it."""
        users: dict[str, dict[str, None]] = {}
        for name, operation_id in self.uses:
            of_it = users.setdefault(name, {})
            if operation_id is not None:
                of_it[operation_id] = None
        return tuple(row.sentence(_listed(list(users[name]))) for name, row in rows().items() if name in users)


def _listed(ids: list[str]) -> str:
    shown = ", ".join(f"%{name}" for name in ids[:_LONGEST_LIST])
    if len(ids) > _LONGEST_LIST:
        shown += f" and {len(ids) - _LONGEST_LIST} more"
    return f": {shown}" if shown else ""
