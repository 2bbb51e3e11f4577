"""Which relative paths are files on every common system, and distinct ones.

It knows the naming rules of Linux, macOS and Windows; it does not look at a disk.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from xcs_airflow.errors import Finding

_DEVICES = {"con", "prn", "aux", "nul", "conin$", "conout$", *(f"{port}{n}" for port in ("com", "lpt") for n in "0123456789¹²³")}
_FORBIDDEN = frozenset('<>:"/|?*\\') | {chr(code) for code in range(32)}
_LONGEST_NAME_BYTES = 255


def unportable(paths: Iterable[str]) -> Iterator[Finding]:
    """A finding for every path that some system cannot hold, or cannot tell from another one.

    Args:
        paths: Relative, with `/` between folders.

    Source: "Naming Files, Paths, and Namespaces", learn.microsoft.com/windows/win32/fileio/naming-a-file.
    """
    written: dict[str, str] = {}
    for path in sorted(paths):
        reason = next((why for name in path.split("/") if (why := why_unportable(name))), "")
        twin = written.setdefault(_as_one_file(path), path)
        if not reason and twin != path:
            reason = f"only capital letters or accents distinguish it from {twin}"
        if reason:
            yield Finding.of("XCS510", path=path, reason=reason)
    folders = {str(parent): path for folded, path in written.items() for parent in PurePosixPath(folded).parents}
    for folded, path in written.items():
        if folded in folders:
            yield Finding.of("XCS510", path=path, reason=f"it is also the folder of {folders[folded]}")


def why_unportable(name: str) -> str:
    """Why a file or folder cannot have a name everywhere; empty when it can."""
    rules = (
        (name in ("", ".", ".."), "a folder has no files of that name"),
        (name.partition(".")[0].rstrip().casefold() in _DEVICES, f"{name} is a device on Windows"),
        (name.endswith((" ", ".")), "names cannot end with a space or a dot on Windows"),
        (not _FORBIDDEN.isdisjoint(name), 'names cannot hold control characters or any of < > : " / | ? * \\ on Windows'),
        (any("\ud800" <= char <= "\udfff" for char in name), "names must be Unicode text"),
        (len(name.encode(errors="replace")) > _LONGEST_NAME_BYTES, f"names cannot be longer than {_LONGEST_NAME_BYTES} bytes"),
    )
    return next((reason for is_broken, reason in rules if is_broken), "")


def _as_one_file(path: str) -> str:
    """The same text for all paths that Windows or macOS take for one file."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())
