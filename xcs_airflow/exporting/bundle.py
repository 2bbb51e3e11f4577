"""A bundle: the files of one pipeline for one target, as values, before anything is written.

It knows paths, bytes and hashes; it does not know folders on a disk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from xcs_airflow.canonical import pretty_json
from xcs_airflow.errors import ExportError

INDEX = "bundle.json"
BUNDLE_VERSION = 1


@dataclass(frozen=True)
class Bundle:
    """Files by their relative path, `/` between folders.

    Attributes:
        files: Path to content.
    """

    files: Mapping[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unsafe = [path for path in self.files if not is_inside(path)]
        if unsafe:
            raise ExportError.because("XCS505", path=unsafe[0])

    def with_files(self, files: Mapping[str, bytes | str]) -> Bundle:
        """A bundle that holds these files too."""
        added = {path: content.encode() if isinstance(content, str) else content for path, content in files.items()}
        return Bundle({**self.files, **added})

    def text(self, path: str) -> str:
        """One file as text."""
        return self.files[path].decode()

    def hashes(self) -> dict[str, str]:
        """Path to SHA-256 of the content, sorted by path."""
        return {path: hashlib.sha256(self.files[path]).hexdigest() for path in sorted(self.files)}

    def index(self, facts: Mapping[str, object]) -> str:
        """`bundle.json`: what made the bundle, and the hash of every file in it."""
        return pretty_json({"bundle_version": BUNDLE_VERSION, **facts, "files": self.hashes()})


def is_inside(path: str) -> bool:
    """Whether a relative path stays in its folder on every operating system."""
    pure = PurePosixPath(path)
    has_bad_part = any(part in ("", ".", "..") for part in path.split("/"))
    return not pure.is_absolute() and not has_bad_part and "\\" not in path and ":" not in path and "\0" not in path
