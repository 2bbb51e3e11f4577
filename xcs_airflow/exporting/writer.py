"""Puts a bundle into a folder: all of it or none of it, and never over a file that is not its own.

It knows folders, hashes and renames; it does not know what the files say. What is its own it knows from the index of the
bundle that was there before (`bundle.json`), so a file that somebody changed since counts as theirs.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from xcs_airflow.canonical import DocumentError, load_json, pretty_json
from xcs_airflow.errors import ExportError, Finding
from xcs_airflow.exporting.bundle import BUNDLE_VERSION, INDEX, Bundle, is_inside
from xcs_airflow.exporting.portable import unportable

STAGING = ".xcs-export"
"""Folder of contents on their way; it exists only while a bundle is written, or after a crash."""

_JOURNAL = "journal.json"
_STAGED = re.compile(r"\d+|journal\.json(\.new)?")

Hashes = Mapping[str, frozenset[str]]
"""Path to the hashes of every content that an export is known to have put there."""


@dataclass(frozen=True, slots=True)
class WriteReport:
    """What became of every file, by path inside the folder.

    Attributes:
        created: Did not exist.
        changed: Held an earlier export.
        unchanged: Held the same bytes, and were not touched.
        removed: Were part of the earlier export and are not part of this one.
    """

    created: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    @property
    def is_same(self) -> bool:
        """Whether the folder already was as it should be."""
        return not (self.created or self.changed or self.removed)


def write_bundle(bundle: Bundle, folder: Path, *, dry_run: bool = False) -> WriteReport:
    """Make a folder hold a bundle.

    New contents are staged beside the old ones and synced to the disk, then renamed one by one, the index last. A journal tells
    the next call what a crash left half done, so that calling again ends it.

    Args:
        bundle: What to write, its index included.
        folder: Where to; created when missing. It may hold other files, as long as they are not in the way.
        dry_run: Only find out what would happen.

    Raises:
        ExportError: Something is in the way. The error names all of it, and nothing was touched.
    """
    findings = list(unportable(bundle.files))
    if findings:
        raise ExportError(findings)
    # Links on the way to the folder are the user's choice; links inside it are not followed.
    root = Path(os.path.realpath(folder))
    try:
        if dry_run:
            return _survey(bundle, root, folder)[0]
        root.mkdir(parents=True, exist_ok=True)
        with _locked(root):
            report, known = _survey(bundle, root, folder)
            if not report.is_same or (root / STAGING).exists():
                _commit(bundle, root, report, known)
            return report
    except OSError as error:
        path = folder if error.filename is None else os.path.relpath(error.filename)
        raise ExportError.because("XCS513", path=path, reason=error.strerror or str(error)) from error


def _survey(bundle: Bundle, root: Path, shown: Path) -> tuple[WriteReport, Hashes]:
    """What would happen, and which contents are known to be ours.

    Raises:
        ExportError: Something is in the way.
    """
    known, obstacles = _known_hashes(root)
    wanted = bundle.hashes()
    removed = [path for path in sorted(known) if path not in wanted and (root / path).is_file()]
    created, changed, unchanged = [], [], []
    for path in (*wanted, *removed):
        state = _look(root, path, removed)
        if isinstance(state, Obstacle):
            obstacles.append(state)
        elif path in removed:
            obstacles += _not_ours(path, state, known)
        elif state is None:
            created.append(path)
        elif state == wanted[path]:
            unchanged.append(path)
        else:
            changed.append(path)
            obstacles += [] if path == INDEX else _not_ours(path, state, known)
    if obstacles:
        raise ExportError([Finding.of(code, path=f"{shown.as_posix()}/{path}") for code, path in dict.fromkeys(obstacles)])
    return WriteReport(tuple(created), tuple(changed), tuple(unchanged), tuple(removed)), known


class Obstacle(NamedTuple):
    """What is in the way: the code of the finding, and the path inside the folder."""

    code: str
    path: str


def _not_ours(path: str, digest: str | None, known: Hashes) -> list[Obstacle]:
    if path not in known:
        return [Obstacle("XCS504", path)]
    return [] if digest in known[path] else [Obstacle("XCS511", path)]


def _look(root: Path, path: str, removed: list[str]) -> str | Obstacle | None:
    """What is where a file is to be: the hash of a file, nothing, or what is in the way. No link is followed."""
    parts = path.split("/")
    for depth in range(1, len(parts) + 1):
        here = "/".join(parts[:depth])
        try:
            mode = os.lstat(root / here).st_mode
        except FileNotFoundError:
            return None
        if stat.S_ISLNK(mode):
            return Obstacle("XCS512", here)
        if stat.S_ISDIR(mode):
            continue
        if stat.S_ISREG(mode) and depth == len(parts):
            return hashlib.sha256((root / here).read_bytes()).hexdigest()
        return None if here in removed else Obstacle("XCS504", here)
    return None if _will_be_empty(root, path, removed) else Obstacle("XCS504", f"{path}/")


def _will_be_empty(root: Path, folder: str, removed: list[str]) -> bool:
    entries = (root / folder).rglob("*")
    return all((entry.is_dir() and not entry.is_symlink()) or entry.relative_to(root).as_posix() in removed for entry in entries)


def _known_hashes(root: Path) -> tuple[dict[str, frozenset[str]], list[Obstacle]]:
    """The contents of the last export, and of one that did not end; and what has the name of an index but is none."""
    known: dict[str, frozenset[str]] = {}
    obstacles = _look_at_staging(root)
    for name in (INDEX, *([] if obstacles else [f"{STAGING}/{_JOURNAL}"])):
        if not os.path.lexists(root / name):
            continue
        files = _read_hashes(root / name)
        if files is None:
            obstacles.append(Obstacle("XCS504", name))
        for path, hashes in (files or {}).items():
            known[path] = known.get(path, frozenset()) | hashes
    return known, obstacles


def _look_at_staging(root: Path) -> list[Obstacle]:
    staging = root / STAGING
    if not os.path.lexists(staging):
        return []
    if staging.is_symlink():
        return [Obstacle("XCS512", STAGING)]
    if not staging.is_dir():
        return [Obstacle("XCS504", STAGING)]
    names = sorted(entry.name for entry in staging.iterdir())
    return [Obstacle("XCS504", f"{STAGING}/{name}") for name in names if not _STAGED.fullmatch(name)]


def _read_hashes(file: Path) -> dict[str, frozenset[str]] | None:
    """The files that an index (one hash each) or a journal (several) tells of; None when it is neither."""
    try:
        document = load_json(file.read_bytes()) if file.is_file() else None
    except DocumentError:
        return None
    files = document.get("files") if isinstance(document, dict) and "bundle_version" in document else None
    if not isinstance(files, dict) or not all(is_inside(path) for path in files):
        return None
    return {path: frozenset([hashes] if isinstance(hashes, str) else map(str, hashes)) for path, hashes in files.items()}


def _commit(bundle: Bundle, root: Path, report: WriteReport, known: Hashes) -> None:
    fresh = (*report.created, *report.changed)
    staging = root / STAGING
    _stage(bundle, staging, fresh, known)
    for path in report.removed:
        (root / path).unlink()
        _remove_empty_parents(root, path)
    for path in sorted(fresh, key=lambda path: (path == INDEX, path)):
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir():
            _remove_empty_folders(target)
        (staging / str(fresh.index(path))).replace(target)
    for folder in {root, *((root / path).parent for path in fresh)}:
        _sync_folder(folder)
    shutil.rmtree(staging)


def _stage(bundle: Bundle, staging: Path, fresh: tuple[str, ...], known: Hashes) -> None:
    """Write the journal, then the new contents, each under its number."""
    hashes = bundle.hashes()
    ours = {path: sorted(known.get(path, frozenset()) | {hashes[path]} if path in hashes else known[path]) for path in {*known, *fresh}}
    staging.mkdir(exist_ok=True)
    _write_synced(staging / f"{_JOURNAL}.new", pretty_json({"bundle_version": BUNDLE_VERSION, "files": ours}).encode())
    (staging / f"{_JOURNAL}.new").replace(staging / _JOURNAL)
    for number, path in enumerate(fresh):
        _write_synced(staging / str(number), bundle.files[path])
    _sync_folder(staging)


def _remove_empty_parents(root: Path, path: str) -> None:
    for parent in (root / path).parents:
        if parent == root or any(parent.iterdir()):
            return
        parent.rmdir()


def _remove_empty_folders(folder: Path) -> None:
    for parent, _, _ in os.walk(folder, topdown=False):
        Path(parent).rmdir()


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make renames last through a power cut, where the system lets folders be opened."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one export at a time write a folder, where the system has locks that end with their process."""
    if sys.platform == "win32":
        yield
        return
    import fcntl  # noqa: PLC0415  # not on Windows

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
