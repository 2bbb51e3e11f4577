"""The limit: sqlite3 with one table, the answer as text, nothing checked."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Sequence
from pathlib import Path

from answers import answer, key, run

folder = tempfile.TemporaryDirectory()
connection = sqlite3.connect(Path(folder.name) / "cache.sqlite", isolation_level=None)
connection.execute("PRAGMA journal_mode = WAL")
connection.execute("CREATE TABLE answers (key TEXT PRIMARY KEY, answer TEXT NOT NULL)")


def fill(count: int) -> None:
    """One transaction."""
    connection.execute("BEGIN")
    rows = [(key(index), json.dumps([answer(index), 1, 2, "m", 0])) for index in range(count)]
    connection.executemany("INSERT INTO answers VALUES (?, ?)", rows)
    connection.execute("COMMIT")


def one(index: int) -> str | None:
    """One statement a key."""
    row = connection.execute("SELECT answer FROM answers WHERE key = ?", (key(index),)).fetchone()
    return None if row is None else json.loads(row[0])[0]


def many(indices: Sequence[int]) -> list[str | None]:
    """One statement for all keys."""
    keys = [key(index) for index in indices]
    marks = ",".join("?" * len(keys))
    rows = dict(connection.execute(f"SELECT key, answer FROM answers WHERE key IN ({marks})", keys))  # noqa: S608  # only marks
    return [json.loads(rows[name])[0] for name in keys]


run(fill, one=one, many=many)
