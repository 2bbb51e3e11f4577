"""Who asks for what, in a SQLite cache: rows that name their owner, who keeps a file locked for as long as it lives.

It knows rows and owners; no clock is asked whether somebody is still alive, but the kernel.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from xcs_airflow.runtime.cache.entry import releasing
from xcs_airflow.runtime.cache.file_locks import FileLock, remove_unless_held

_SELECT = "SELECT claims.key, owner FROM json_each(?2) CROSS JOIN claims ON tenant = ?1 AND claims.key = value"
_FREE = "DELETE FROM claims WHERE owner IN (SELECT value FROM json_each(?))"
_INSERT = "INSERT OR IGNORE INTO claims SELECT ?, value, ? FROM json_each(?)"
_DELETE = "DELETE FROM claims WHERE tenant = ? AND owner = ? AND key IN (SELECT value FROM json_each(?))"
_PREFIX = "owner-"


class SqliteClaims:
    """The claims of one session.

    Args:
        run: Does something with the connection to the file and the tenant's number.
        folder: Where owners keep their files.
    """

    def __init__(self, run: Callable[[Callable[[sqlite3.Connection, int], Any]], Any], folder: Path) -> None:
        self._run = run
        self._folder = folder
        self._lock = threading.Lock()
        self._owner: FileLock | None = None
        self._process = 0
        self._held: set[str] = set()

    def take(self, keys: Iterable[str]) -> set[str]:
        """Claim what nobody who lives has claimed; gives what is the caller's now."""
        wanted = list(keys)
        if not wanted:
            return set()

        def take(connection: sqlite3.Connection, tenant: int) -> set[str]:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                owners = dict(connection.execute(_SELECT, (tenant, json.dumps(wanted))).fetchall())
                own = self._own().path.name
                dead = {owner for owner in set(owners.values()) - {own} if remove_unless_held(self._folder / owner)}
                if dead:
                    connection.execute(_FREE, (json.dumps(list(dead)),))
                taken = {key for key in wanted if owners.get(key, own) in dead | {own}}
                connection.execute(_INSERT, (tenant, own, json.dumps(sorted(taken))))  # in the order of the table, which is quicker
            return taken

        taken: set[str] = self._run(take)
        with self._lock:
            self._held |= taken
        return taken

    def release(self, keys: Iterable[str]) -> None:
        """Let others ask."""
        with self._lock:
            released = self._held.intersection(keys)
            self._held -= released
            owner = self._owner
        if released and owner is not None:
            values = owner.path.name, json.dumps(list(released))
            with releasing():
                self._run(lambda connection, tenant: connection.execute(_DELETE, (tenant, *values)).close())

    def close(self) -> None:
        """Release all that is left."""
        try:
            self.release(set(self._held))
        finally:
            with self._lock:
                if self._owner is not None:
                    self._owner.remove()
                    self._owner = None

    def _own(self) -> FileLock:
        """The file that says this process lives; a child that was forked has one of its own."""
        with self._lock:
            if self._owner is None or self._process != os.getpid():
                for path in self._folder.glob(f"{_PREFIX}*"):
                    remove_unless_held(path)  # of processes that were killed
                self._owner = FileLock(self._folder / f"{_PREFIX}{uuid.uuid4().hex}")
                self._process = os.getpid()
                self._held = set()
            return self._owner
