"""What the attempts of a run have been allotted of its budget: one small document, changed by whoever finds it unchanged.

It knows sums and how competing writers agree; it does not know calls or prices.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from decimal import Decimal

from pydantic import Field, ValidationError

from xcs_airflow.canonical import DocumentError, load_json
from xcs_airflow.errors import RuntimeTaskError
from xcs_airflow.runtime.store import Store
from xcs_airflow.values import Frozen

_FIRST_PAUSE_S = 0.005
_LONGEST_PAUSE_S = 1.0


class Allotment(Frozen):
    """What one attempt may spend.

    Attributes:
        usd: All it was given, what it has spent of it included.
        largest_usd: No call of this attempt costs more at worst.
        beat: Grows whenever the attempt asks for more; while it stands still, the attempt may be dead.
        lease_s: For how long the attempt spends without asking again.
    """

    usd: Decimal
    largest_usd: Decimal
    beat: int
    lease_s: float


class Allotments(Frozen):
    """How a run's budget is divided.

    Attributes:
        schema_version: Of this document.
        spent_usd: What ended attempts spent at most.
        attempts: What others may spend, by the name of their segment of the ledger.
        held: What is set aside for provider batches, by their names.
        written_by: Who wrote this and for the how manieth time: no two states are the same bytes.
    """

    schema_version: int = 1
    spent_usd: Decimal = Decimal(0)
    attempts: dict[str, Allotment] = Field(default_factory=dict)
    held: dict[str, Decimal] = Field(default_factory=dict)
    written_by: str = ""

    @property
    def taken_usd(self) -> Decimal:
        """What is spent or set aside."""
        given = sum((entry.usd for entry in self.attempts.values()), start=Decimal(0))
        return self.spent_usd + sum(self.held.values(), start=given)

    def left(self, budget_usd: Decimal) -> Decimal:
        """What nobody has taken of a budget."""
        return budget_usd - self.taken_usd

    def with_attempt(self, name: str, entry: Allotment) -> Allotments:
        """With what one attempt may spend."""
        return self.model_copy(update={"attempts": {**self.attempts, name: entry}})

    def without_attempt(self, name: str, spent_usd: Decimal) -> Allotments:
        """With an attempt that has ended."""
        attempts = {other: entry for other, entry in self.attempts.items() if other != name}
        return self.model_copy(update={"attempts": attempts, "spent_usd": self.spent_usd + spent_usd})


Change = Callable[[Allotments], Allotments]
"""Gives the next state; the same object when there is nothing to change. It may be asked several times."""


class SharedAllotments:
    """The document of one run in its store.

    Args:
        store: Where it lies.
        name: Its name there.
        writer: Who changes it here; no other process has this name.
        first: Gives the state of a run that has no document yet.
    """

    def __init__(self, store: Store, name: str, writer: str, first: Callable[[], Allotments]) -> None:
        self._store = store
        self._name = name
        self._writer = writer
        self._first = first
        self._writes = 0

    def change(self, alter: Change) -> Allotments:
        """Change the document: when somebody else did so meanwhile, look again and decide anew.

        A change whose confirmation was lost is decided once more, too, so a change must be one that may be made twice.

        Raises:
            RuntimeTaskError: The store cannot be used, or the document is not one (XCS608).
        """
        longest = _FIRST_PAUSE_S
        while True:
            loaded = self._store.load(self._name)
            current = self._first() if loaded is None else self._parsed(loaded[0])
            changed = alter(current)
            if changed is current:
                return current
            self._writes += 1
            changed = changed.model_copy(update={"written_by": f"{self._writer} {self._writes}"})
            data = changed.model_dump_json(indent=1).encode()
            if self._store.create(self._name, data) if loaded is None else self._store.replace(self._name, data, loaded[1]):
                return changed
            time.sleep(random.uniform(0, longest))  # noqa: S311  # it spreads writers, it keeps no secret
            longest = min(longest * 2, _LONGEST_PAUSE_S)

    def _parsed(self, data: bytes) -> Allotments:
        try:
            return Allotments.model_validate(load_json(data))
        except (DocumentError, ValidationError):
            raise RuntimeTaskError.because("XCS608", reason=f"{self._name} is not what was written there") from None
