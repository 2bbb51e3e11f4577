"""What steps leave behind: one commit per step and shard, and the data it vouches for.

It knows the layout of a run in the store, keys and shards; it does not know how results come about.

    runs/PIPELINE/RUN/steps/STEP/0-of-4.json              the commit: fingerprint, form, count, checksum
    runs/PIPELINE/RUN/steps/STEP/0-of-4.3f1c….jsonl       the data, named by its checksum
    runs/PIPELINE/RUN/ledger/TASK/0-of-4.1.9a2e….jsonl    one segment of the ledger per attempt
    runs/PIPELINE/RUN/errors/TASK/0-of-4.1.json           why an attempt failed
    runs/PIPELINE/RUN/answers…                            answers that no other run may take
"""

from __future__ import annotations

import hashlib
import heapq
import json
import logging
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote, unquote

from pydantic import ValidationError

from xcs_airflow.canonical import DocumentError, digest, load_json
from xcs_airflow.errors import RuntimeTaskError
from xcs_airflow.manifest import Manifest, Step, shard_of
from xcs_airflow.runtime.store import Store, lines_of
from xcs_airflow.values import Frozen

Form = Literal["value", "list", "collection", "skipped"]
"""One JSON value; a list whose keys are its positions; the result of a mapped step; nothing, because of a condition."""

_LOG = logging.getLogger("xcs_airflow.runtime")
_LONGEST_SEGMENT = 120
_JSON = json.JSONEncoder(allow_nan=False).encode


class Commit(Frozen):
    """The word of a finished step that its result is complete.

    Attributes:
        fingerprint: Of the step, as in the manifest.
        parameters: Digest of the parameters of the run.
        form: What the data is.
        count: How many items it has; 1 for a value.
        sha256: Of the data.
        data: Its name in the store; None when skipped.
        busy_ms: Milliseconds that a plain function took, its inputs and result included; None of a step that asks a model.
    """

    fingerprint: str
    parameters: str
    form: Form
    count: int = 0
    sha256: str = ""
    data: str | None = None
    busy_ms: int | None = None


def segment(name: str) -> str:
    """A name as one segment of a path: nothing in it can lead elsewhere, and different names stay different."""
    quoted = quote(name, safe="", errors="surrogatepass")
    if quoted.startswith("."):
        quoted = f"%2E{quoted[1:]}"
    if len(quoted) > _LONGEST_SEGMENT:
        return f"{quoted[: _LONGEST_SEGMENT - 17]}~{hashlib.sha256(quoted.encode()).hexdigest()[:16]}"
    return quoted or "%"


def run_folder(pipeline: str, run_id: str) -> str:
    """Where everything of a run lies."""
    return f"runs/{segment(pipeline)}/{segment(run_id)}"


def name_in(path_segment: str) -> str:
    """The name that a segment of a path stands for; of a long name, what can be read of it."""
    return "" if path_segment == "%" else unquote(path_segment, errors="surrogatepass")


def run_memory(store: str, pipeline: str, run_id: str) -> str:
    """Address of the cache that belongs to one run: answers that no other run may take."""
    place = f"{store.rstrip('/')}/{run_folder(pipeline, run_id)}/answers"
    return place if "://" in store and not store.startswith("file://") else f"sqlite:///{place.removeprefix('file://')}.sqlite"


def position(key: str) -> tuple[int, ...]:
    """The place of an item among others: keys are position paths, compared number by number."""
    return tuple(map(int, key.split("/")))


def shards_of(manifest: Manifest, step: Step) -> int:
    """How many commits the result of a step has: only mapped steps are spread."""
    return manifest.task_of_step[step.id].shards if step.map_over else 1


class Results:
    """The results of one run of a manifest.

    Args:
        store: Where they lie.
        manifest: Whose they are.
        run_id: The run.
        parameters: All parameters of the run; None reads results whatever theirs were.
    """

    def __init__(self, store: Store, manifest: Manifest, run_id: str, parameters: Mapping[str, Any] | None) -> None:
        self._store = store
        self._manifest = manifest
        self._folder = run_folder(manifest.pipeline, run_id)
        self._steps = {step.id: step for step in manifest.steps()}
        self._parameters = None if parameters is None else digest(parameters)
        self._commits: dict[tuple[str, int], Commit] = {}

    def commit_of(self, step_id: str, shard: int = 0) -> Commit | None:
        """The commit of a step's shard; None if there is none that is good for this manifest and these parameters."""
        known = self._commits.get((step_id, shard))
        if known is not None:
            return known
        data = self._store.get(f"{self._base(step_id, shard)}.json")
        if data is None:
            return None
        try:
            commit = Commit.model_validate(load_json(data))
        except (DocumentError, ValidationError):
            return None
        if commit.fingerprint != self._steps[step_id].fingerprint or self._parameters not in (None, commit.parameters):
            return None
        self._commits[step_id, shard] = commit
        return commit

    def is_finished(self, step_id: str, shard: int) -> bool:
        """Whether there is a good commit and the data it vouches for is there, byte for byte; reads it once."""
        commit = self.commit_of(step_id, shard)
        if commit is None or commit.data is None:
            return commit is not None
        found = hashlib.sha256()
        with suppress(FileNotFoundError):
            for chunk in self._store.chunks(commit.data):
                found.update(chunk)
        if found.hexdigest() == commit.sha256:
            return True
        _LOG.warning("%s is not what was committed: %s is computed again", commit.data, step_id)
        del self._commits[step_id, shard]
        return False

    def form(self, step_id: str, shard: int = 0, shards: int = 1) -> Form:
        """What the result of a step is, as seen from a shard of its reader."""
        written = shards_of(self._manifest, self._steps[step_id])
        return self._needed(step_id, shard if written == shards else 0).form

    def whole(self, step_id: str) -> Any:
        """The whole result of a step that was not skipped: a value, or a list in the order of its keys.

        Raises:
            RuntimeTaskError: It is not in the store (XCS602), or not as it was written (XCS608).
        """
        commit = self._needed(step_id, 0)
        if commit.form == "value":
            ((_, value),) = self._rows(commit)
            return value
        return [item for _, item in self.items(step_id, 0, 1)]

    def items(self, step_id: str, shard: int, shards: int) -> Iterator[tuple[str, Any]]:
        """The items of a list or a collection that belong to a shard, with their keys, in the order of their keys.

        Args:
            step_id: Whose items.
            shard: Which part of them.
            shards: Into how many parts the reader spreads them.
        """
        written = shards_of(self._manifest, self._steps[step_id])
        if written == shards:
            yield from self._shard_items(step_id, shard)
            return
        parts = [self._shard_items(step_id, index) for index in range(written)]
        merged = parts[0] if written == 1 else heapq.merge(*parts, key=lambda item: position(item[0]))
        for key, item in merged:
            if shard_of(key, shards) == shard:
                yield key, item

    def count(self, step_id: str, shard: int, shards: int) -> int:
        """How many items of a list or a collection belong to a shard."""
        written = shards_of(self._manifest, self._steps[step_id])
        if written == shards:
            return self._needed(step_id, shard).count
        if shards == 1:
            return sum(self._needed(step_id, index).count for index in range(written))
        return sum(1 for _ in self.items(step_id, shard, shards))

    def skip(self, step_id: str, shard: int) -> None:
        """Commit that a step was left out."""
        self._commit(step_id, shard, form="skipped")

    def writer(self, step_id: str, shard: int, form: Form, began: float | None = None) -> ResultWriter:
        """Write the result of a step; leaving the block without an error commits it.

        Args:
            step_id: Whose result.
            shard: Which part of it.
            form: What it is.
            began: When the function that computes it began, by `time.perf_counter`; None when nobody times it.
        """

        def commit(count: int, sha256: str, path: Path) -> None:
            name = f"{self._base(step_id, shard)}.{sha256[:16]}.jsonl"
            self._store.put_file(name, path)
            busy_ms = None if began is None else round((time.perf_counter() - began) * 1000)
            self._commit(step_id, shard, form=form, count=count, sha256=sha256, data=name, busy_ms=busy_ms)

        return ResultWriter(self._store.scratch(), commit)

    def _commit(self, step_id: str, shard: int, **facts: Any) -> None:
        commit = Commit(fingerprint=self._steps[step_id].fingerprint, parameters=str(self._parameters), **facts)
        self._store.put(f"{self._base(step_id, shard)}.json", commit.model_dump_json().encode())
        self._commits[step_id, shard] = commit

    def _base(self, step_id: str, shard: int) -> str:
        return f"{self._folder}/steps/{segment(step_id)}/{shard}-of-{shards_of(self._manifest, self._steps[step_id])}"

    def _needed(self, step_id: str, shard: int) -> Commit:
        commit = self.commit_of(step_id, shard)
        if commit is None:
            raise RuntimeTaskError.because("XCS602", name=step_id)
        return commit

    def _shard_items(self, step_id: str, shard: int) -> Iterator[tuple[str, Any]]:
        yield from self._rows(self._needed(step_id, shard))

    def _rows(self, commit: Commit) -> Iterator[tuple[str, Any]]:
        """The lines of a result. What does not have its checksum is refused at its end, before anything is committed."""
        found = hashlib.sha256()
        try:
            for line in lines_of(self._store.chunks(str(commit.data))):
                found.update(line + b"\n")
                row = json.loads(line)
                yield row["key"], row["value"]
        except (FileNotFoundError, ValueError, RecursionError, KeyError, TypeError) as error:
            raise RuntimeTaskError.because("XCS608", reason=f"{commit.data}: {error}") from error
        if found.hexdigest() != commit.sha256:
            raise RuntimeTaskError.because("XCS608", reason=f"{commit.data} does not have the checksum of its commit")


class ResultWriter:
    """Writes lines to a local file and, in the end, hands it over with its checksum."""

    def __init__(self, folder: Path, commit: Any) -> None:
        descriptor, path = tempfile.mkstemp(dir=folder)
        self._file = os.fdopen(descriptor, "wb")
        self._path = Path(path)
        self._sha256 = hashlib.sha256()
        self._count = 0
        self._commit = commit

    def write(self, key: str, value: Any) -> None:
        """Add an item. Keys come in their order.

        Raises:
            ValueError, TypeError, RecursionError: The value is not JSON.
        """
        line = f'{{"key": "{key}", "value": {_JSON(value)}}}\n'.encode()
        self._sha256.update(line)
        self._file.write(line)
        self._count += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()
        try:
            if kind is None:
                self._commit(self._count, self._sha256.hexdigest(), self._path)
        finally:
            self._path.unlink(missing_ok=True)
