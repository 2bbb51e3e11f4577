"""The platform's files of a bundle, read back: as documents, as typed values, and what cannot be read.

It knows where each file is; it judges nothing but shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from xcs_airflow.canonical import DocumentError, load_json
from xcs_airflow.errors import Finding
from xcs_airflow.exporting.bundle import Bundle
from xcs_airflow.manifest import Outline
from xcs_exporters.aws_batch.documents import JobDefinition, Schedule, StateMachine, Template

FOLDER = "job-definitions/"
STATE_MACHINE = "state-machine.asl.json"
SCHEDULE = "schedule.json"
TEMPLATE = "template.json"
MANIFEST = "manifest.json"

_Model = TypeVar("_Model", bound=BaseModel)


class Broken(NamedTuple):
    """What is wrong with a file.

    Attributes:
        path: Of the file.
        reason: What is wrong.
    """

    path: str
    reason: str


@dataclass(frozen=True)
class Files:
    """The platform's files of a bundle.

    Attributes:
        documents: Every file but the manifest as JSON, by path.
        job_definitions: By path.
        state_machine: The definition.
        schedule: When it runs; None when on demand only.
        template: The template.
        manifest: The tasks of what the runtime reads; None in a bundle that has none yet.
        size: Bytes of every file.
    """

    documents: Mapping[str, Any]
    job_definitions: Mapping[str, JobDefinition]
    state_machine: StateMachine
    schedule: Schedule | None
    template: Template
    manifest: Outline | None
    size: Mapping[str, int]


class _Reader:
    """Reads files, and remembers what it could not read."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.documents: dict[str, Any] = {}
        self.broken: list[Broken] = []

    def read(self, path: str, model: type[_Model]) -> _Model | None:
        """One file, None when it is missing or not of its kind."""
        if path not in self.bundle.files:
            self.broken.append(Broken(path, "the file is missing"))
            return None
        try:
            self.documents[path] = load_json(self.bundle.files[path])
            return model.model_validate(self.documents[path])
        except DocumentError as error:
            reason = error.facts.get("reason") or Finding.of(error.code, **error.facts).message  # type: ignore[arg-type]
            self.broken.append(Broken(path, str(reason)))
        except ValidationError as error:
            self._refuse(path, error)
        return None

    def read_manifest(self) -> Outline | None:
        """The tasks of the manifest, which is the largest file; a bundle may leave it out."""
        if MANIFEST not in self.bundle.files:
            return None
        try:
            return Outline.model_validate_json(self.bundle.files[MANIFEST])
        except ValidationError as error:
            self._refuse(MANIFEST, error)
        return None

    def read_if_there(self, path: str, model: type[_Model]) -> _Model | None:
        """One file that a bundle may leave out."""
        return self.read(path, model) if path in self.bundle.files else None

    def _refuse(self, path: str, error: ValidationError) -> None:
        for problem in error.errors(include_url=False):
            where = ".".join(str(part) for part in problem["loc"]) or "the document"
            self.broken.append(Broken(path, f"{where}: {problem['msg']}"))


def read_files(bundle: Bundle) -> tuple[Files | None, list[Broken]]:
    """The files of a bundle, None when some cannot be read; and what cannot be read about them."""
    reader = _Reader(bundle)
    paths = [path for path in sorted(bundle.files) if path.startswith(FOLDER)]
    definitions = {path: reader.read(path, JobDefinition) for path in paths}
    machine = reader.read(STATE_MACHINE, StateMachine)
    template = reader.read(TEMPLATE, Template)
    schedule = reader.read_if_there(SCHEDULE, Schedule)
    manifest = reader.read_manifest()
    if reader.broken or machine is None or template is None:
        return None, reader.broken
    readable = {path: definition for path, definition in definitions.items() if definition is not None}
    sizes = {path: len(content) for path, content in bundle.files.items()}
    return Files(reader.documents, readable, machine, schedule, template, manifest, sizes), []
