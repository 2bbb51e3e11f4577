"""What stands on the command line, as settings and parameters of a run.

It knows how values are written; it does not know what they are for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xcs_airflow.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import JsonValue

    from xcs_airflow.manifest import ParameterSpec
    from xcs_airflow.runtime.settings import RuntimeSettings


def pairs(_: click.Context, __: click.Parameter, texts: Sequence[str]) -> dict[str, str]:
    """The callback of options that are written NAME=VALUE, each name once."""
    given: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise click.BadParameter(f"write NAME=VALUE instead of {text!r}")
        if name in given:
            raise click.BadParameter(f"{name} is given twice")
        given[name] = value
    return given


def runtime_settings(given: Mapping[str, Any], models: str | None) -> RuntimeSettings:
    """The environment's settings, after those of the command line."""
    from xcs_airflow.runtime.settings import RuntimeSettings  # noqa: PLC0415

    environment = dict(os.environ)
    if models is not None:
        environment["XCS_MODELS"] = models if models.lstrip().startswith("{") else _read(models)
    return RuntimeSettings.from_environment(environment, **given)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError.because("XCS805", name="--models", reason=f"{path}: {getattr(error, 'strerror', None) or error}") from None


def parameters(specs: Sequence[ParameterSpec], texts: Mapping[str, str]) -> dict[str, JsonValue]:
    """The parameters of the run, all that is wrong with them found before it begins."""
    from xcs_airflow.runtime.parameters import complete  # noqa: PLC0415

    schemas = {spec.name: spec.value_schema for spec in specs}
    return complete(specs, {name: value_of(text, schemas.get(name, {})) for name, text in texts.items()})


def value_of(text: str, schema: Mapping[str, JsonValue]) -> JsonValue:
    """What stands on the command line, as a value: text where text is asked for, otherwise JSON if it is any."""
    from xcs_airflow.canonical import DocumentError, load_json  # noqa: PLC0415

    if any(kind.get("type") == "string" for kind in (schema, *_alternatives(schema))):
        return text
    try:
        value: JsonValue = load_json(text)
    except DocumentError:
        return text
    return value


def _alternatives(schema: Mapping[str, JsonValue]) -> list[dict[str, JsonValue]]:
    kinds = schema.get("anyOf")
    return [kind for kind in kinds if isinstance(kind, dict)] if isinstance(kinds, list) else []
