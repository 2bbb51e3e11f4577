"""A memory-mapped key-value store, the answer as bytes, nothing checked."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence

import lmdb
from answers import answer, key, run

folder = tempfile.TemporaryDirectory()
environment = lmdb.open(folder.name, map_size=1 << 30)


def fill(count: int) -> None:
    """One transaction."""
    with environment.begin(write=True) as transaction:
        for index in range(count):
            transaction.put(key(index).encode(), json.dumps([answer(index), 1, 2, "m", 0]).encode())


def one(index: int) -> str | None:
    """One transaction a key."""
    with environment.begin() as transaction:
        found = transaction.get(key(index).encode())
    return None if found is None else json.loads(found)[0]


def many(indices: Sequence[int]) -> list[str | None]:
    """One transaction for all keys."""
    with environment.begin() as transaction:
        found = [transaction.get(key(index).encode()) for index in indices]
    return [None if data is None else json.loads(data)[0] for data in found]


run(fill, one=one, many=many)
