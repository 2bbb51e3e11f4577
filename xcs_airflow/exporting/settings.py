"""`[tool.xcs]` of pyproject.toml, and the variables that go before it.

It knows names, types and precedence (flags, which the command line adds, then `XCS_*` variables, then the file); it does not
know pipelines or what a target's own settings mean.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, JsonValue, ValidationError, field_validator

from xcs_airflow.cost.simulation import RateLimit
from xcs_airflow.errors import ConfigError, Finding
from xcs_airflow.exporting.image import BASE_IMAGE, Image
from xcs_airflow.values import Frozen

DEFAULT_OUTPUT = "build/xcs"

_IMAGE_NAME = re.compile(r"[a-z0-9][A-Za-z0-9._:/@-]{0,511}")


class ImageSettings(Frozen):
    """`[tool.xcs.image]`.

    Attributes:
        base: The image to start from; it has Python 3.11 or newer, and pip.
        requirements: A requirements file with what the pipelines' own code imports, relative to pyproject.toml.
    """

    base: str = BASE_IMAGE
    requirements: str | None = None

    @field_validator("base")
    @classmethod
    def _is_image_name(cls, base: str) -> str:
        if not _IMAGE_NAME.fullmatch(base):
            raise ValueError("it is not the name of an image, as in python:3.12-slim")
        return base

    def read(self) -> Image:
        """The settings with the requirements file read.

        Raises:
            ConfigError: The file cannot be read.
        """
        if self.requirements is None:
            return Image(self.base)
        try:
            return Image(self.base, Path(self.requirements).read_bytes())
        except OSError as error:
            reason = f"{self.requirements}: {error.strerror}"
            raise ConfigError.because("XCS515", name="requirements", reason=reason) from None


class ProjectSettings(Frozen):
    """What a project says once for all: `[tool.xcs]`. Paths are relative to the folder that xcs runs in.

    Attributes:
        pipelines: What to export when none is named, each `path/to/file.py:function` or `package.module:function`.
        output: The folder that bundles are written to, as in `<output>/<target>/<pipeline>/`.
        prices: A price file.
        profile: The file in which runs are measured.
        limits: What model providers allow the project's account, by their names.
        targets: The settings of every target by its name; their names are the targets when none is given.
        image: The container image.
    """

    pipelines: tuple[str, ...] = ()
    output: str = DEFAULT_OUTPUT
    prices: str | None = None
    profile: str | None = None
    limits: dict[str, RateLimit] = Field(default_factory=dict)
    targets: dict[str, dict[str, JsonValue]] = Field(default_factory=dict)
    image: ImageSettings = ImageSettings()

    @property
    def target_names(self) -> tuple[str, ...]:
        """The targets that have a table, in writing order."""
        return tuple(self.targets)


def load_settings(folder: Path, environment: Mapping[str, str]) -> ProjectSettings:
    """The settings that hold in a folder.

    Args:
        folder: Where xcs runs; the nearest pyproject.toml with a `[tool.xcs]` table, here or above, counts.
        environment: `XCS_PIPELINES`, `XCS_OUTPUT`, `XCS_PRICES` and `XCS_PROFILE` go before the file.

    Raises:
        ConfigError: The table is not valid; carries every finding.
    """
    found = next(_tables(folder), None)
    settings = ProjectSettings() if found is None else _relative_to(folder, found[0].parent, _validated(*found))
    variables: dict[str, object] = {}
    if environment.get("XCS_PIPELINES"):
        variables["pipelines"] = tuple(environment["XCS_PIPELINES"].split())
    for name in ("output", "prices", "profile"):
        value = environment.get(f"XCS_{name.upper()}")
        if value:
            variables[name] = value
    return settings.model_copy(update=variables)


def is_file_spec(spec: str) -> bool:
    """Whether a pipeline is named by a file: `path/to/file.py`, `path/to/file.py:function`, `graph.json`."""
    return re.search(r"\.(py(:[^:/\\]*)?|json)$", spec) is not None


def _tables(folder: Path) -> Iterator[tuple[Path, Any]]:
    absolute = folder.absolute()
    for place in (absolute, *absolute.parents):
        file = place / "pyproject.toml"
        if file.is_file():
            document = _parsed(file)
            table = document.get("tool", {})
            if isinstance(table, dict) and "xcs" in table:
                yield file, table["xcs"]


def _parsed(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError.because("XCS803", file=_shown(file), reason=f"it is not TOML: {error}") from None
    except OSError as error:
        raise ConfigError.because("XCS803", file=_shown(file), reason=error.strerror or str(error)) from None


def _validated(file: Path, table: object) -> ProjectSettings:
    try:
        return ProjectSettings.model_validate(table)
    except ValidationError as error:
        raise ConfigError([_finding(file, problem) for problem in error.errors(include_url=False)]) from None


def _finding(file: Path, problem: Mapping[str, Any]) -> Finding:
    *path, name = problem["loc"] or ("",)
    where = ".".join(map(str, problem["loc"])) or "it"
    if problem["type"] == "extra_forbidden":
        model = ImageSettings if path == ["image"] else ProjectSettings
        return Finding.of("XCS803", file=_shown(file), reason=f"there is no setting {where!r}", name=name, known=model.model_fields)
    return Finding.of("XCS803", file=_shown(file), reason=f"{where}: {problem['msg'].removeprefix('Value error, ')}")


def _relative_to(folder: Path, home: Path, settings: ProjectSettings) -> ProjectSettings:
    """The same settings, their paths seen from the folder that xcs runs in."""

    def seen(path: str) -> str:
        return Path(os.path.relpath(home / path, folder)).as_posix()

    image = settings.image
    if image.requirements is not None:
        image = image.model_copy(update={"requirements": seen(image.requirements)})
    return settings.model_copy(
        update={
            "pipelines": tuple(seen(spec) if is_file_spec(spec) else spec for spec in settings.pipelines),
            "output": seen(settings.output),
            "prices": None if settings.prices is None else seen(settings.prices),
            "profile": None if settings.profile is None else seen(settings.profile),
            "image": image,
        }
    )


def _shown(file: Path) -> str:
    return Path(os.path.relpath(file)).as_posix()
