"""Where results and ledgers lie: a folder, or an object store behind the same few verbs.

It knows names and bytes; it does not know what they mean. Names are relative paths with `/` between segments.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from xcs_airflow.errors import RuntimeTaskError

_CHUNK_BYTES = 1 << 18
_PART = re.compile(r"\.\d{6}(?=\.\w+\Z)")
_LEFT_BEHIND_S = 7 * 24 * 3600
_LOCK_DIGITS = 3
"""Locks are shared by names whose digests begin alike, so that their number stays small."""


class StoreUnavailableError(RuntimeTaskError):
    """The store does not answer: the task should be tried again later."""

    retryable = True


Version = Any
"""Tells one state of a name from another; only the store that gave it can read it."""


class Entry(NamedTuple):
    """A name that is there.

    Attributes:
        name: The name.
        changed: When it was written last, in seconds since 1970 by the clock of the store.
    """

    name: str
    changed: float


class Appender(Protocol):
    """A growing file of lines.

    Attributes:
        lines_per_flush: How many lines should be written before a flush pays; 1 when every line is kept at once.
    """

    lines_per_flush: int

    def write(self, *lines: bytes) -> None:
        """Add lines; they are kept at the latest by the next flush. After an error they wait for the next write or flush."""

    def flush(self) -> None:
        """Keep everything written so far, whatever happens to this process. After an error the next flush tries again."""

    def close(self) -> None:
        """Flush, and let go of the file."""


class Store(Protocol):
    """Bytes by name. Every write is atomic: readers see all of it or nothing.

    A name is written either with `put` or with `create` and `replace`, never with both. Writers that compete for a name write
    different bytes: whoever finds their own bytes there has won, although the answer that said so was lost on its way.
    """

    def get(self, name: str) -> bytes | None:
        """The bytes of a name, None when there are none."""

    def chunks(self, name: str) -> Iterator[bytes]:
        """The bytes of a name, piece by piece.

        Raises:
            FileNotFoundError: There are none.
        """

    def put(self, name: str, data: bytes) -> None:
        """Write, replacing what was there."""

    def scratch(self) -> Path:
        """A folder for a file that will be given to `put_file`."""

    def put_file(self, name: str, path: Path) -> None:
        """Move a local file to a name, replacing what was there."""

    def create(self, name: str, data: bytes) -> bool:
        """Write if nothing is there; whether it was written. Of many writers, one wins."""

    def load(self, name: str) -> tuple[bytes, Version] | None:
        """The bytes of a name and the version they are, for `replace`; None when there are none."""

    def replace(self, name: str, data: bytes, version: Version) -> bool:
        """Write if what is there is still this version; whether it was written. Of many writers, one wins."""

    def delete(self, name: str) -> None:
        """Remove a name; nothing happens when there is none."""

    def list(self, prefix: str) -> Iterator[str]:
        """The names in a folder and below it, sorted."""

    def entries(self, prefix: str) -> Iterator[Entry]:
        """The same names, with the time of each."""

    def appender(self, name: str) -> Appender:
        """A new file of lines. No two processes may use one name."""


def open_store(address: str) -> Store:
    """The store at an address: a folder, `file://`, `s3://` or `gs://`.

    Raises:
        RuntimeTaskError: The address cannot be used (XCS608), or needs a package that is not installed (XCS617).
    """
    if address.startswith(("s3://", "gs://")):
        from xcs_airflow.runtime.object_store import ObjectStore  # noqa: PLC0415  # needs an extra

        return ObjectStore.at(address)
    if "://" in address and not address.startswith("file://"):
        raise RuntimeTaskError.because("XCS608", reason=f"{address!r} is neither a folder nor s3:// nor gs://")
    return LocalStore(Path(address.removeprefix("file://")))


def lines_of(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The lines of a file that arrives in pieces, without their ends."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
    if rest:
        yield rest


def part_name(name: str, part: int) -> str:
    """The name of one part of a file of lines, for stores whose files cannot grow."""
    stem, _, suffix = name.rpartition(".")
    return f"{stem}.{part:06}.{suffix}"


def segment_of(name: str) -> str:
    """The name of the file of lines that a file is, or is a part of."""
    return _PART.sub("", name)


def checked_segments(name: str) -> list[str]:
    """The segments of a name.

    Raises:
        ValueError: The name could leave the store.
    """
    segments = name.split("/")
    if any(segment in ("", ".", "..") or "\\" in segment or "\0" in segment for segment in segments):
        raise ValueError(f"not a name in a store: {name!r}")
    return segments


class LocalStore:
    """A folder. Folders are made for their owner alone (0700), and so are files (0600).

    Args:
        root: The folder; it is made when something is written.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self._is_swept = False

    def get(self, name: str) -> bytes | None:
        """The bytes of a name, None when there are none."""
        try:
            return self._path(name).read_bytes()
        except FileNotFoundError:
            return None

    def chunks(self, name: str) -> Iterator[bytes]:
        """The bytes of a name, piece by piece."""
        with self._path(name).open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk

    def put(self, name: str, data: bytes) -> None:
        """Write, replacing what was there."""
        self.put_file(name, self._written(data))

    def scratch(self) -> Path:
        """A folder for a file that will be given to `put_file`."""
        folder = self._root / ".partial"
        make_folder(folder)
        if not self._is_swept:
            self._is_swept = True
            _sweep(folder)
        return folder

    def put_file(self, name: str, path: Path) -> None:
        """Move a local file to a name, replacing what was there."""
        target = self._path(name)
        make_folder(target.parent)
        _sync(path)
        path.replace(target)
        _sync(target.parent)

    def create(self, name: str, data: bytes) -> bool:
        """Write if nothing is there; whether it was written. Of many writers, one wins."""
        target = self._path(name)
        make_folder(target.parent)
        path = self._written(data)
        try:
            _sync(path)
            target.hardlink_to(path)
        except FileExistsError:
            return False
        finally:
            path.unlink()
        _sync(target.parent)
        return True

    def load(self, name: str) -> tuple[bytes, Version] | None:
        """The bytes of a name and the version they are, for `replace`; None when there are none."""
        data = self.get(name)
        return None if data is None else (data, _version(data))

    def replace(self, name: str, data: bytes, version: Version) -> bool:
        """Write if what is there is still this version; whether it was written. Of many writers, one wins."""
        with self._alone(name):
            current = self.get(name)
            if current is None or _version(current) != version:
                return False
            self.put(name, data)
        return True

    def delete(self, name: str) -> None:
        """Remove a name; nothing happens when there is none."""
        with self._alone(name):
            self._path(name).unlink(missing_ok=True)

    def list(self, prefix: str) -> Iterator[str]:
        """The names in a folder and below it, sorted."""
        folder = self._path(prefix)
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                yield path.relative_to(self._root).as_posix()

    def entries(self, prefix: str) -> Iterator[Entry]:
        """The same names, with the time of each."""
        for name in self.list(prefix):
            with suppress(FileNotFoundError):
                yield Entry(name, self._path(name).stat().st_mtime)

    def appender(self, name: str) -> Appender:
        """A new file of lines, each of which survives the end of this process."""
        path = self._path(name)
        make_folder(path.parent)
        return _LocalAppender(path)

    def _path(self, name: str) -> Path:
        return self._root.joinpath(*checked_segments(name))

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        """Keep out everybody else who replaces or deletes this name; the system lets go of the lock of a process that dies."""
        folder = self._root / ".locks"
        make_folder(folder)
        descriptor = os.open(folder / hashlib.sha256(name.encode()).hexdigest()[:_LOCK_DIGITS], os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _written(self, data: bytes) -> Path:
        descriptor, path = tempfile.mkstemp(dir=self.scratch())
        with open(descriptor, "wb") as file:  # noqa: PTH123  # a descriptor, not a path
            file.write(data)
        return Path(path)


class _LocalAppender:
    """Written lines survive this process; once the file is closed, a loss of power, too. Syncing each line would take as long as a call."""

    lines_per_flush = 1

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._folder = path.parent
        self._rest = b""
        self._lock = threading.Lock()

    def write(self, *lines: bytes) -> None:
        """Write lines, after what a full disk did not take before: no line is lost in the middle of a file."""
        with self._lock:
            self._rest += b"\n".join((*lines, b""))
            self._send()

    def flush(self) -> None:
        """Nothing waits but after an error: a written line belongs to the system already."""
        with self._lock:
            self._send()

    def close(self) -> None:
        try:
            self.flush()
            os.fsync(self._descriptor)
            _sync(self._folder)
        finally:
            os.close(self._descriptor)

    def _send(self) -> None:
        while self._rest:
            self._rest = self._rest[os.write(self._descriptor, self._rest) :]


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, each for its owner alone."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)


def _sweep(folder: Path) -> None:
    """Remove what processes left that were killed while they wrote, long ago."""
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < time.time() - _LEFT_BEHIND_S:
                path.unlink()


def _sync(path: Path) -> None:
    """Make the content of a file last, or the names in a folder: a rename belongs to the folder, not to the file."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _version(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
