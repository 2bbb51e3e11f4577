"""Checks what `[tool.xcs.targets.<name>]` sets, for every exporter alike.

It knows how a table becomes a settings model; the model belongs to the exporter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from xcs_airflow.errors import ExportError, Finding

Settings = TypeVar("Settings", bound=BaseModel)


def read_settings(model: type[Settings], target: str, given: Mapping[str, Any]) -> Settings:
    """The settings as a value.

    Args:
        model: What may be set.
        target: The exporter's name.
        given: The table as read.

    Raises:
        ExportError: Some are unknown or not valid; carries a finding for each.
    """
    try:
        return model.model_validate(dict(given))
    except ValidationError as error:
        raise ExportError([_finding(model, target, problem) for problem in error.errors(include_url=False)]) from None


def _finding(model: type[BaseModel], target: str, problem: ErrorDetails) -> Finding:
    name = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return Finding.of("XCS503", target=target, name=name, reason="there is no such setting", known=model.model_fields)
    return Finding.of("XCS503", target=target, name=name, reason=problem["msg"].removeprefix("Value error, "))
