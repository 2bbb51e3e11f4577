"""The books of one batch: a segment of the ledger of its own, written whole each time, so that nothing is ever settled twice.

It knows when a segment is written; `ledger.py` knows what stands in it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

from xcs_airflow.runtime.batches.asked import Asked
from xcs_airflow.runtime.batches.documents import Batch
from xcs_airflow.runtime.books import Usage
from xcs_airflow.runtime.ledger import Ledger
from xcs_airflow.runtime.store import Store


class WholeSegment:
    """A segment that appears in the store when it is closed, and takes the place of what was there.

    Args:
        store: Where it belongs.
        name: Its name.
    """

    lines_per_flush = 1

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._name = name
        descriptor, path = tempfile.mkstemp(dir=store.scratch())
        self._file = os.fdopen(descriptor, "wb")
        self._path = Path(path)

    def write(self, *lines: bytes) -> None:
        """Add lines."""
        self._file.writelines(line + b"\n" for line in lines)

    def flush(self) -> None:
        """Nothing is kept before the end."""

    def close(self) -> None:
        """Give the segment to the store."""
        self._file.close()
        self._store.put_file(self._name, self._path)

    def discard(self) -> None:
        """Leave nothing behind; nothing happens to what the store has."""
        self._file.close()
        self._path.unlink(missing_ok=True)


@contextmanager
def book_of(asked: Asked, batch: Batch) -> Iterator[Ledger]:
    """The books of a batch, begun anew: its calls are announced, and whatever becomes of them follows.

    They take the place of what was there when they are closed, and leave it alone when they are not.
    """
    segment = WholeSegment(asked.this.store, asked.book_name(batch.name))
    try:
        ledger = Ledger(lambda: segment, asked.price)
        ledger.intend(asked.account, len(batch.intent.keys))
        yield ledger
    finally:
        segment.discard()


def announced(asked: Asked, batch: Batch) -> None:
    """Write down that the calls of a batch are going to be made."""
    with book_of(asked, batch) as book:
        book.close(asked.price)


def withdrawn(asked: Asked, batch: Batch) -> None:
    """Write down that they were not."""
    asked.this.store.delete(asked.book_name(batch.name))


def cost_of_all(usage: Iterable[Usage]) -> Decimal | None:
    """What a batch cost, by its closed books; None when nobody knows."""
    listed = list(usage)
    if any(entry.possibly_billed or entry.calls_without_billed_price for entry in listed):
        return None
    return sum((entry.billed_cost_usd for entry in listed), start=Decimal(0))
