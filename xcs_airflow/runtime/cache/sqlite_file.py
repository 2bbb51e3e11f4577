"""The file of a SQLite cache: made, recognised, and set aside when it is damaged or of another version.

It knows SQLite, files and locks; it does not know what is asked of the tables.

Renaming a database that others have open could make them remove files of its successor. So every connection holds a shared lock
beside the file, and whoever sets the file aside holds it alone.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xcs_airflow.errors import Finding, RuntimeTaskError
from xcs_airflow.runtime.cache.file_locks import FileLock
from xcs_airflow.runtime.store import StoreUnavailableError, make_folder

_LOG = logging.getLogger("xcs_airflow.runtime")

_APPLICATION = 0x58435343
"""Says in a file's header that it is a cache of this program ("XCSC"), so that a database of another one is left alone."""

_VERSION = 2
_TABLES = """
CREATE TABLE tenants (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);
CREATE TABLE answers (
    tenant INTEGER NOT NULL,
    key TEXT NOT NULL,
    text BLOB NOT NULL,
    input_tokens INTEGER,
    output_tokens INTEGER,
    model TEXT,
    created_at INTEGER NOT NULL,
    seal TEXT NOT NULL,
    checksum INTEGER NOT NULL,
    used_hour INTEGER NOT NULL,
    PRIMARY KEY (tenant, key)
);
CREATE INDEX answers_by_use ON answers (used_hour);
CREATE TABLE recipes (
    tenant INTEGER NOT NULL,
    digest TEXT NOT NULL,
    operation TEXT NOT NULL,
    fields TEXT NOT NULL,
    PRIMARY KEY (tenant, digest, operation)
) WITHOUT ROWID;
CREATE TABLE claims (
    tenant INTEGER NOT NULL,
    key TEXT NOT NULL,
    owner TEXT NOT NULL,
    PRIMARY KEY (tenant, key)
) WITHOUT ROWID;
"""
_TABLES_OF_VERSION_1 = {"answers"}
_MAGIC = b"SQLite format 3\0"
_FORMAT_AT = 18
_FORMATS = (1, 2)
_BUSY_TIMEOUT_S = 30
_CACHE_KIB = 16 * 1024
_LOG_PAGES = 4000
"""So many pages of 4 KiB, four times as many as by default, are logged before they go into the file, with syncs that hold up calls."""

_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_SIDE_FILES = ("", "-wal", "-shm", "-journal")
_PATIENCE_S = 5.0
_LOOK_S = 0.05
_SHARED_MEMORY_WORKS_NOT = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "gpfs", "beegfs"})


class _UnfitError(Exception):
    """The file is not one that this version can use."""


class CacheFile:
    """A connection to the file of a cache, opened when it is first used. The file is made for its owner alone (0600).

    Whoever uses it sees to it that only one thread does so at a time.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.locks = path.with_name(f"{path.name}.locks")
        self._connection: sqlite3.Connection | None = None
        self._in_use: FileLock | None = None
        self._inode = 0

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection.

        Raises:
            RuntimeTaskError: It is a database of another program (XCS614).
            sqlite3.Error: It cannot be opened.
            OSError: Likewise.
        """
        if self._connection is None:
            with self._opening():
                try:
                    self._connection = self._connected()
                except _UnfitError as unfit:
                    self._set_aside(str(unfit))
                    self._connection = self._connected()
        return self._connection

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._in_use is not None:
            self._in_use.release()
            self._in_use = None

    def replace(self, reason: str) -> None:
        """Set a damaged file aside; the next connection begins a new one.

        Args:
            reason: What is wrong with it.

        Raises:
            RuntimeTaskError: Others have the file open (XCS614); trying again later helps.
        """
        damaged = self._inode
        self.close()
        with self._opening():
            if self.path.exists() and self.path.stat().st_ino == damaged:  # nobody else has done the same
                self._set_aside(reason)

    @contextmanager
    def _opening(self) -> Iterator[None]:
        """Keep out everybody else who opens the file or sets it aside."""
        make_folder(self.path.absolute().parent)
        make_folder(self.locks)
        lock = FileLock(self.locks / "opening")
        try:
            yield
        finally:
            lock.release()

    def _connected(self) -> sqlite3.Connection:
        self._in_use = FileLock(self.locks / "in-use", is_shared=True)
        # SQLite gives its side files the mode of the main file.
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        self._inode = self.path.stat().st_ino
        if not _has_known_format(self.path):
            self._in_use.release()
            raise _UnfitError("is damaged (its header names no format)")
        connection = sqlite3.connect(self.path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        try:
            self._prepare(connection)
        except BaseException as error:
            connection.close()
            self._in_use.release()
            if isinstance(error, (sqlite3.Error, UnicodeDecodeError)) and is_damage(error):
                raise _UnfitError(f"is damaged ({error})") from error
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        is_new = _is_new(connection, self.path)
        if is_new:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # counts only before anything is written
            # Nothing is in it that a loss of power could take, and each of six syncs would take as long as many calls.
            connection.execute("PRAGMA synchronous = OFF")
        # Write-ahead logging needs memory that all users share, which network file systems do not give (sqlite.org/wal.html).
        mode = "DELETE" if file_system(self.path.absolute()) in _SHARED_MEMORY_WORKS_NOT else "WAL"
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        if is_new:
            connection.executescript(
                f"BEGIN IMMEDIATE; {_TABLES} PRAGMA application_id = {_APPLICATION}; PRAGMA user_version = {_VERSION}; COMMIT"
            )
        connection.execute("PRAGMA synchronous = NORMAL")

    def _set_aside(self, reason: str) -> None:
        alone = FileLock(self.locks / "in-use", is_shared=True)
        try:
            until = time.monotonic() + _PATIENCE_S
            while not alone.try_alone():
                if time.monotonic() > until:
                    raise StoreUnavailableError.because("XCS614", reason=f"{self.path} {reason}, and other processes have it open")
                time.sleep(_LOOK_S)
            aside = self.path.with_name(f"{self.path.name}.set-aside-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.getpid()}")
            for suffix in _SIDE_FILES:
                side = Path(f"{self.path}{suffix}")
                if side.exists():
                    side.rename(f"{aside}{suffix}")
        finally:
            alone.release()
        finding = Finding.of("XCS619", path=self.path, reason=reason, aside=aside, severity="warning")
        _LOG.warning("%s", finding)


def _is_new(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether there is nothing in the file yet; if there is, it is a cache of this version."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if (application, version) == (_APPLICATION, _VERSION):
        return False
    if application == _APPLICATION:
        raise _UnfitError(f"is of {'an older' if version < _VERSION else 'a newer'} version")
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not application and not version and tables == _TABLES_OF_VERSION_1:
        raise _UnfitError("is of an older version")
    if application or version or tables:
        raise RuntimeTaskError.because("XCS614", reason=f"{path} is a database of another program")
    return True


def _has_known_format(path: Path) -> bool:
    """Whether a file says it may be read and written; one of a later format SQLite opens, but only to read (sqlite.org/fileformat.html)."""
    with path.open("rb") as file:
        header = file.read(_FORMAT_AT + 2)
    return not header.startswith(_MAGIC) or all(number in _FORMATS for number in header[_FORMAT_AT:])


def is_damage(error: sqlite3.Error | UnicodeDecodeError) -> bool:
    """Whether an error says that the file itself is damaged.

    `SQLITE_ERROR` says that a statement does not fit the tables, and the statements are always the same. Names of tables that are no
    text keep Python from saying even that.
    """
    if isinstance(error, UnicodeDecodeError):
        return True
    code = getattr(error, "sqlite_errorcode", 0)
    return code == sqlite3.SQLITE_ERROR or code & 0xFF in _DAMAGED


def is_no_text(error: sqlite3.Error | UnicodeDecodeError) -> bool:
    """Whether an error says that a text in a row is none: that row is damaged, and no other."""
    return str(error).startswith("Could not decode to UTF-8")


def file_system(path: Path) -> str:
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
