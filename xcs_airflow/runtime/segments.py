"""Where the books of a run lie: one segment for every attempt that made calls, a file or several.

It knows names; `books.py` knows what segments say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from xcs_airflow.runtime.books import Books, Price
from xcs_airflow.runtime.store import Store, lines_of, segment_of


def all_books(store: Store, folder: str, price: Price) -> Iterator[tuple[str, Books]]:
    """Every segment below a folder, with its books."""
    for segment, parts in groupby(store.list(folder), key=segment_of):
        yield segment, _read(store, parts, price)


def books_of(store: Store, segment: str, price: Price) -> Books:
    """The books of one segment; empty when it was never written."""
    folder = segment.rpartition("/")[0]
    return _read(store, (name for name in store.list(folder) if segment_of(name) == segment), price)


def _read(store: Store, parts: Iterable[str], price: Price) -> Books:
    return Books.read((line for part in parts for line in lines_of(store.chunks(part))), price)
