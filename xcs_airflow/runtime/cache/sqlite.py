"""Answers in a SQLite file, for all processes of one machine.

It knows SQL and file systems; it does not know models.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from xcs_airflow.errors import RuntimeTaskError
from xcs_airflow.runtime.cache.entry import CachedAnswer
from xcs_airflow.runtime.store import StoreUnavailableError, make_folder

_TABLE = """CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY,
    answer TEXT NOT NULL
)"""
_SELECT = "SELECT key, answer FROM answers WHERE key IN (SELECT value FROM json_each(?))"
_INSERT = "INSERT INTO answers VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET answer = excluded.answer"
_BUSY_TIMEOUT_S = 30
_SHARED_MEMORY_WORKS_NOT = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "gpfs", "beegfs"})


class SqliteCache:
    """A file with one table. The file is made for its owner alone (0600).

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def get_many(self, keys: Iterable[str], *, ttl_s: int | None = None) -> dict[str, CachedAnswer]:
        """The answers that are there, not older than asked, and undamaged."""
        with self._connected() as connection:
            rows = connection.execute(_SELECT, (json.dumps(list(keys)),)).fetchall()
        now = time.time()
        found = {key: answer for key, data in rows if (answer := CachedAnswer.load(key, data)) is not None}
        return {key: answer for key, answer in found.items() if answer.is_good(ttl_s, now)}

    def put_many(self, answers: Mapping[str, CachedAnswer]) -> None:
        """Remember answers, in one transaction."""
        rows = [(key, answer.dump(key)) for key, answer in answers.items()]
        with self._connected() as connection, connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(_INSERT, rows)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = _connect(self._path)
                yield self._connection
            except sqlite3.OperationalError as error:
                raise StoreUnavailableError.because("XCS614", reason=f"{self._path}: {error}") from error
            except (sqlite3.DatabaseError, OSError) as error:
                raise RuntimeTaskError.because("XCS614", reason=f"{self._path}: {error}") from error


def _connect(path: Path) -> sqlite3.Connection:
    make_folder(path.absolute().parent)
    # SQLite gives its side files the mode of the main file.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    # Write-ahead logging needs memory that all users share, which network file systems do not give (sqlite.org/wal.html).
    mode = "DELETE" if _file_system(path.absolute()) in _SHARED_MEMORY_WORKS_NOT else "WAL"
    try:
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(_TABLE)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _file_system(path: Path) -> str:
    """The kind of file system a path lies on; empty where the system does not say."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    best, kind = "", ""
    for _, folder, name, *_ in (line.split(" ") for line in mounts):
        place = folder.encode().decode("unicode_escape") if "\\" in folder else folder
        if path.is_relative_to(place) and len(place) >= len(best):
            best, kind = place, name
    return kind
