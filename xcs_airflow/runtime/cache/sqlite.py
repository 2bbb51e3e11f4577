"""Answers in a SQLite file, for all processes of one machine.

It knows the tables and their statements; `sqlite_file.py` knows the file, `sqlite_claims.py` who asks for what.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from xcs_airflow.errors import RuntimeTaskError
from xcs_airflow.runtime.cache.entry import CachedAnswer, Claims, Gate, Recipe
from xcs_airflow.runtime.cache.sqlite_claims import SqliteClaims
from xcs_airflow.runtime.cache.sqlite_file import CacheFile, is_damage, is_no_text
from xcs_airflow.runtime.store import StoreUnavailableError

_COLUMNS = "key, text, input_tokens, output_tokens, model, created_at, seal, checksum, used_hour"
_SELECT_ONE = f"SELECT {_COLUMNS} FROM answers WHERE tenant = ? AND key = ?"  # noqa: S608  # names of columns
# A join, for `IN` makes a sorted copy of the keys first; `json_each` has a column `key`, too.
_SELECT_MANY = f"SELECT answers.{_COLUMNS} FROM json_each(?2) CROSS JOIN answers ON tenant = ?1 AND answers.key = value"  # noqa: S608
_SELECT_PAGE = f"SELECT {_COLUMNS} FROM answers WHERE tenant = ? AND key > CAST(? AS TEXT) ORDER BY key LIMIT ?"  # noqa: S608
_SELECT_KEYS = "SELECT key FROM answers WHERE tenant = ? AND key > CAST(? AS TEXT) AND key >= ? ORDER BY key LIMIT ?"
_UPSERT = f"""INSERT INTO answers (tenant, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (tenant, key) DO UPDATE SET key = excluded.key, text = excluded.text, input_tokens = excluded.input_tokens,
output_tokens = excluded.output_tokens, model = excluded.model, created_at = excluded.created_at, seal = excluded.seal,
checksum = excluded.checksum, used_hour = excluded.used_hour"""  # noqa: S608
_TOUCH = "UPDATE answers SET used_hour = ? WHERE tenant = ? AND key IN (SELECT value FROM json_each(?))"
_DELETE = "DELETE FROM answers WHERE tenant = ? AND key IN (SELECT value FROM json_each(?))"
_EVICT = "DELETE FROM answers WHERE rowid IN (SELECT rowid FROM answers ORDER BY used_hour, rowid LIMIT ?)"

_PAGE = 1000
_EVICTED_AT_A_TIME = 500
_EVICTED_TO = 0.9
_TOUCHED_AT_A_TIME = 1000
_HOUR_S = 3600

_Result = TypeVar("_Result")
_Row = tuple[str, bytes, int | None, int | None, str | None, int, str, int, int]


class SqliteCache:
    """The tables of one tenant in a file.

    When an answer was used is known by the hour, so that reading hardly ever writes. When the file grows beyond its limit, the
    answers that were not used for the longest time go, whoever they belong to.

    Args:
        path: The file.
        tenant: Whose answers.
        max_bytes: How large the file may become; None means no limit.
        is_sealed: Whether texts are encrypted by whoever uses this.
    """

    is_remote = False

    def __init__(self, path: Path, tenant: str = "", *, max_bytes: int | None = None, is_sealed: bool = False) -> None:
        self._file = CacheFile(path)
        self._name = tenant
        self._max_bytes = max_bytes
        self._gate = Gate(str(path), is_sealed=is_sealed)
        self._lock = threading.Lock()
        self._tenant: int | None = None
        self._touched: set[str] = set()
        self._noted: set[tuple[str, str]] = set()

    def get_many(self, keys: Iterable[str], *, ttl_s: int | None = None) -> dict[str, CachedAnswer]:
        """The answers that are there, not older than asked, and undamaged."""
        wanted = list(keys)
        if len(wanted) == 1:
            rows = self._run(lambda connection, tenant: connection.execute(_SELECT_ONE, (tenant, wanted[0])).fetchall())
        else:
            rows = self._run(lambda connection, tenant: connection.execute(_SELECT_MANY, (tenant, json.dumps(wanted))).fetchall())
        now = time.time()
        hour = int(now // _HOUR_S)
        found: dict[str, CachedAnswer] = {}
        for row in rows:
            answer = self._answer(row)
            if answer is not None and (ttl_s is None or answer.created_at + ttl_s > now):
                found[row[0]] = answer
                if row[8] != hour:
                    self._touched.add(row[0])
        if len(self._touched) >= _TOUCHED_AT_A_TIME:
            self._run(self._touch)
        return found

    def put_many(self, answers: Mapping[str, CachedAnswer]) -> None:
        """Remember answers, in one transaction."""
        hour = int(time.time() // _HOUR_S)
        rows = [_row(key, answer, hour) for key, answer in answers.items()]

        def put(connection: sqlite3.Connection, tenant: int) -> None:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                self._touch(connection, tenant)
                connection.executemany(_UPSERT, [(tenant, *row) for row in rows])
                self._evict(connection)

        self._run(put)

    def claims(self) -> Claims:
        """Claims of whoever calls this, told apart by a file that is locked."""
        return SqliteClaims(self._run, self._file.locks)

    def note_recipe(self, recipe: Recipe) -> None:
        """Remember how something was asked."""
        if recipe.name in self._noted:
            return
        values = recipe.digest, recipe.operation, json.dumps(recipe.fields, ensure_ascii=True)
        self._run(
            lambda connection, tenant: connection.execute("INSERT OR IGNORE INTO recipes VALUES (?, ?, ?, ?)", (tenant, *values)).close()
        )
        self._noted.add(recipe.name)

    def recipes(self) -> list[Recipe]:
        """Every recipe that was noted."""
        select = "SELECT digest, operation, fields FROM recipes WHERE tenant = ? ORDER BY digest, operation"
        rows = self._run(lambda connection, tenant: connection.execute(select, (tenant,)).fetchall())
        return [Recipe(digest, operation, json.loads(fields)) for digest, operation, fields in rows]

    def keys(self, prefix: str = "") -> Iterator[str]:
        """The keys that begin so, in order, also of damaged entries."""
        last = ""
        while True:
            page = self._page(_SELECT_KEYS, _as_stored(last), prefix)
            for (last,) in page:
                if not last.startswith(prefix):
                    return
                yield last
            if len(page) < _PAGE:
                return

    def entries(self) -> Iterator[tuple[str, CachedAnswer]]:
        """All undamaged answers, in the order of their keys, a page at a time."""
        last = ""
        while page := self._page(_SELECT_PAGE, _as_stored(last)):
            for row in page:
                answer = self._answer(row)
                if answer is not None:
                    yield row[0], answer
            last = page[-1][0]

    def remove(self, keys: Iterable[str]) -> int:
        """Forget answers, and make the file smaller."""
        unwanted = json.dumps(list(keys))

        def remove(connection: sqlite3.Connection, tenant: int) -> int:
            removed = connection.execute(_DELETE, (tenant, unwanted)).rowcount
            # As a script, because each step of an incremental vacuum frees one page, and `execute` takes only one.
            connection.executescript("PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(TRUNCATE)")
            return removed

        return self._run(remove)

    def close(self) -> None:
        """Let go of the file."""
        if self._touched:
            with suppress(RuntimeTaskError):  # it is about which answers go first, not about answers
                self._run(self._touch)
        with self._lock:
            self._file.close()
            self._tenant = None

    def _page(self, statement: str, *values: Any) -> list[Any]:
        return self._run(lambda connection, tenant: connection.execute(statement, (tenant, *values, _PAGE)).fetchall())

    def _run(self, work: Callable[[sqlite3.Connection, int], _Result]) -> _Result:
        """Do something with the connection and the tenant's number; a damaged file is set aside, and a new one begun.

        Raises:
            RuntimeTaskError: The file cannot be used (XCS614).
        """
        path = self._file.path
        with self._lock:
            try:
                try:
                    return work(self._file.connection, self._tenant if self._tenant is not None else self._number())
                except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
                    if is_no_text(error):
                        self._file.connection.text_factory = _any_text
                        return work(self._file.connection, self._number())
                    if not is_damage(error):
                        raise
                    self._tenant = None
                    self._file.replace(f"is damaged ({error})")
                    return work(self._file.connection, self._number())
            except sqlite3.OperationalError as error:
                raise StoreUnavailableError.because("XCS614", reason=f"{path}: {error}") from error
            except (sqlite3.DatabaseError, OSError) as error:
                raise RuntimeTaskError.because("XCS614", reason=f"{path}: {error}") from error

    def _number(self) -> int:
        connection = self._file.connection
        select = "SELECT id FROM tenants WHERE name = ?"
        row = connection.execute(select, (self._name,)).fetchone()
        if row is None:
            connection.execute("INSERT OR IGNORE INTO tenants (name) VALUES (?)", (self._name,))
            row = connection.execute(select, (self._name,)).fetchone()
        number: int = row[0]
        self._tenant = number
        return number

    def _answer(self, row: _Row) -> CachedAnswer | None:
        """The answer in a row; None when it is damaged, or not of the kind that is asked for."""
        key, text, input_tokens, output_tokens, model, created_at, seal, checksum, _ = row
        try:
            if checksum != zlib.crc32(
                text, zlib.crc32(f"{key}{input_tokens!r} {output_tokens!r} {model!r} {created_at!r} {seal!r}".encode())
            ):
                return None
            answer = CachedAnswer(text.decode("utf-8", "surrogatepass"), input_tokens, output_tokens, model, created_at, seal)
        except (TypeError, ValueError, AttributeError):
            return None
        return answer if self._gate.admits(answer) else None

    def _touch(self, connection: sqlite3.Connection, tenant: int) -> None:
        touched, self._touched = self._touched, set()
        if touched:
            connection.execute(_TOUCH, (int(time.time() // _HOUR_S), tenant, json.dumps(list(touched))))

    def _evict(self, connection: sqlite3.Connection) -> None:
        """Make room, within the transaction of whoever needs it."""
        if self._max_bytes is None or _bytes_used(connection) <= self._max_bytes:
            return
        while _bytes_used(connection) > self._max_bytes * _EVICTED_TO and connection.execute(_EVICT, (_EVICTED_AT_A_TIME,)).rowcount:
            pass


def _any_text(data: bytes) -> str:
    """What should be text, whatever it is; slower than SQLite's own way, so it is used from the first damage on."""
    return data.decode("utf-8", "surrogateescape")


def _as_stored(text: str) -> bytes:
    """A text as it is in the file, so that a page begins after the last row of the one before, even if that is damaged."""
    return text.encode("utf-8", "surrogateescape")


def _row(key: str, answer: CachedAnswer, hour: int) -> tuple[Any, ...]:
    text = answer.text.encode("utf-8", "surrogatepass")
    model = None if answer.model is None else answer.model.encode("utf-8", "backslashreplace").decode()
    fields = f"{key}{answer.input_tokens!r} {answer.output_tokens!r} {model!r} {answer.created_at!r} {answer.seal!r}"
    checksum = zlib.crc32(text, zlib.crc32(fields.encode()))
    return key, text, answer.input_tokens, answer.output_tokens, model, answer.created_at, answer.seal, checksum, hour


def _bytes_used(connection: sqlite3.Connection) -> int:
    pages, free, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size"))
    return int((pages - free) * size)
