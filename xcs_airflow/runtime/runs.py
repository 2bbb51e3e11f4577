"""Which runs a store has, and what their steps left there.

It knows the names and commits that `results.py` writes; it does not know manifests, so it cannot say what a run lacks.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from pydantic import ValidationError

from xcs_airflow.canonical import DocumentError, load_json
from xcs_airflow.errors import RuntimeTaskError
from xcs_airflow.runtime.results import Commit, Form, name_in, run_folder, segment
from xcs_airflow.runtime.store import Entry, Store

_ROOT = "runs"
_COMMIT = re.compile(r"steps/([^/]+)/(\d+)-of-(\d+)\.json")


@dataclass(frozen=True, slots=True)
class Run:
    """A run of which something is in the store.

    Attributes:
        pipeline: The pipeline's name.
        run_id: The run's.
        folder: Where everything of it lies.
        changed: When something of it was written last, in seconds since 1970 by the clock of the store.
        finished_steps: How many steps have the results of all their shards.
    """

    pipeline: str
    run_id: str
    folder: str
    changed: float = 0.0
    finished_steps: int = 0

    @classmethod
    def named(cls, pipeline: str, run_id: str) -> Self:
        """A run by its names, without a look at the store."""
        return cls(pipeline, run_id, run_folder(pipeline, run_id))


@dataclass(frozen=True, slots=True)
class Output:
    """What one shard of a step left behind.

    Attributes:
        step: The step's id.
        shard: Which part of it, counted from 0.
        shards: How many parts it has.
        form: What it is; `skipped` when a condition left it out.
        count: How many items it has; 1 for a value.
        sha256: Of the data.
        data: Its name in the store; None when skipped.
        fingerprint: Of the step, as in the manifest.
        parameters: Digest of the run's parameters.
        busy_ms: Milliseconds that a plain function took; None of a step that asks a model.
    """

    step: str
    shard: int
    shards: int
    form: Form
    count: int
    sha256: str
    data: str | None
    fingerprint: str
    parameters: str
    busy_ms: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)


@dataclass(slots=True)
class _Traces:
    changed: float = 0.0
    shards: defaultdict[tuple[str, int], set[int]] = field(default_factory=lambda: defaultdict(set))

    def add(self, entry: Entry, rest: str) -> None:
        self.changed = max(self.changed, entry.changed)
        found = _COMMIT.fullmatch(rest)
        if found:
            self.shards[found[1], int(found[3])].add(int(found[2]))

    @property
    def finished_steps(self) -> int:
        return len({step for (step, count), found in self.shards.items() if len(found) >= count})


def all_runs(store: Store, pipeline: str | None = None) -> list[Run]:
    """The runs of a store, the one that changed last first.

    Args:
        store: Where to look; only names are read.
        pipeline: Only runs of this one.

    Raises:
        RuntimeTaskError: The store cannot be used (XCS608).
    """
    traces: defaultdict[tuple[str, str], _Traces] = defaultdict(_Traces)
    for entry in store.entries(_ROOT if pipeline is None else f"{_ROOT}/{segment(pipeline)}"):
        _, owner, run, *rest = entry.name.split("/", 3)
        if rest:
            traces[owner, run].add(entry, rest[0])
    runs = [
        Run(name_in(owner), name_in(run), f"{_ROOT}/{owner}/{run}", found.changed, found.finished_steps)
        for (owner, run), found in traces.items()
    ]
    return sorted(runs, key=lambda run: (-run.changed, run.folder))


def the_run(runs: Iterable[Run], run_id: str, store: str) -> Run:
    """The run of a name.

    Args:
        runs: All there are.
        run_id: The name.
        store: Where they are, for messages.

    Raises:
        RuntimeTaskError: There is none (XCS734), or several pipelines have one (XCS735).
    """
    known = list(runs)
    found = [run for run in known if run.folder.rpartition("/")[2] == segment(run_id)]
    if not found:
        raise RuntimeTaskError.because(
            "XCS734", name=run_id, store=store, known={name for run in known for name in (run.run_id, run.pipeline)}
        )
    if len(found) > 1:
        raise RuntimeTaskError.because("XCS735", name=run_id, known={run.pipeline for run in found})
    return found[0]


def runs_of(runs: Sequence[Run], pipeline: str) -> list[Run]:
    """Those of one pipeline, in their order."""
    return [run for run in runs if run.folder.split("/")[1] == segment(pipeline)]


def outputs_of(store: Store, run: Run) -> Iterator[Output]:
    """What the steps of a run left behind, by step and shard. What is no commit is passed over, as tasks do.

    Raises:
        RuntimeTaskError: The store cannot be used (XCS608).
    """
    for name in store.list(f"{run.folder}/steps"):
        found = _COMMIT.fullmatch(name.removeprefix(f"{run.folder}/"))
        commit = _commit(store.get(name)) if found else None
        if found and commit is not None:
            facts = commit.model_dump(include={"form", "count", "sha256", "data", "fingerprint", "parameters", "busy_ms"})
            yield Output(name_in(found[1]), int(found[2]), int(found[3]), **facts)


def _commit(data: bytes | None) -> Commit | None:
    try:
        return None if data is None else Commit.model_validate(load_json(data))
    except (DocumentError, ValidationError):
        return None
