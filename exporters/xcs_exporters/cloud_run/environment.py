"""The environment of a container: which variables it may have, and how a secret reference is written there.

It knows names, values and references; it does not know whose they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from xcs_airflow.ir.check import SECRET_NAME
from xcs_exporters.cloud_run.limits import limit

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NOT_IN_A_VALUE = re.compile("[\0\ud800-\udfff]")
_RESERVED = re.compile(r"CLOUD_RUN_|X_GOOGLE_")

# `name`, `name:version`, `projects/P/secrets/name` or `projects/P/secrets/name/versions/version`
_REFERENCE = re.compile(
    r"(?P<secret>(?:projects/[a-z0-9:.-]+/secrets/)?[A-Za-z0-9_-]{1,255})"
    r"(?:(?::|/versions/)(?P<version>[0-9]+|[A-Za-z][A-Za-z0-9_-]{0,62}))?"
)


def name_problem(name: str) -> str:
    """Why there can be no variable of this name; empty when there can."""
    if not _NAME.fullmatch(name):
        return "a name has letters, digits and _ only"
    if _RESERVED.match(name):
        return "the platform keeps this name for itself"
    return ""


def problem_of(name: str, value: str) -> str:
    """Why a variable cannot be set in plain text; empty when it can."""
    if problem := name_problem(name):
        return problem
    if SECRET_NAME.search(name):
        return "the name looks like a secret's; pass it by reference"
    if _NOT_IN_A_VALUE.search(value):
        return "a value cannot hold NUL or half a surrogate pair"
    if len(value.encode()) > limit("variable_bytes"):
        return f"a value has at most {limit('variable_bytes')} bytes"
    return ""


def secret_reference(reference: str) -> dict[str, str] | None:
    """A reference to Secret Manager, without a version the latest; None when it is no such reference."""
    match = _REFERENCE.fullmatch(reference)
    return match and {"secret": match["secret"], "version": match["version"] or "latest"}


def variables(plain: Mapping[str, str], secrets: Mapping[str, str]) -> list[dict[str, Any]]:
    """The `env` of a container, sorted by name: the same order every time, so a deployed job never differs without reason.

    Args:
        plain: Variable name to value.
        secrets: Variable name to secret reference; these go before plain values.
    """
    sources: dict[str, dict[str, Any]] = {name: {"value": value} for name, value in plain.items()}
    sources |= {name: {"valueSource": {"secretKeyRef": secret_reference(reference)}} for name, reference in secrets.items()}
    return [{"name": name, **sources[name]} for name in sorted(sources)]
