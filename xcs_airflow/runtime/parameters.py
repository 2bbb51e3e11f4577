"""The parameters of a run: what was given, what was left out, and whether it is what the pipeline declares.

It knows names and types; it does not know where the values are used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xcs_airflow.canonical import DocumentError, load_json
from xcs_airflow.errors import CODES, Finding, RuntimeTaskError
from xcs_airflow.manifest import ParameterSpec
from xcs_airflow.runtime.answers import MisfitError, fit


def read_parameters(text: str, name: str) -> dict[str, Any]:
    """Parameters from a JSON document.

    Args:
        text: The document.
        name: Where it comes from, for messages.

    Raises:
        RuntimeTaskError: It is not a JSON object (XCS611).
    """
    try:
        given = load_json(text)
    except DocumentError as error:
        raise RuntimeTaskError.because("XCS611", name=name, reason=CODES[error.code].message.format_map(error.facts)) from None
    if not isinstance(given, dict):
        raise RuntimeTaskError.because("XCS611", name=name, reason="it is not a JSON object of parameters")
    return given


def complete(specs: Sequence[ParameterSpec], given: Mapping[str, Any]) -> dict[str, Any]:
    """All parameters of a run, in the order of their declaration, with defaults for what was left out.

    Raises:
        RuntimeTaskError: Parameters are unknown, missing, or of the wrong type (XCS607); the error carries every finding.
    """
    known = {spec.name for spec in specs}
    findings = [Finding.of("XCS607", name=name, reason="not one of the pipeline's", known=known) for name in given if name not in known]
    values: dict[str, Any] = {}
    for spec in specs:
        if spec.name in given:
            values[spec.name] = given[spec.name]
            findings.extend(_misfits(spec, given[spec.name]))
        elif spec.has_default:
            values[spec.name] = spec.default
        else:
            findings.append(Finding.of("XCS607", name=spec.name, reason="missing and has no default"))
    if findings:
        raise RuntimeTaskError(findings)
    return values


def _misfits(spec: ParameterSpec, value: Any) -> list[Finding]:
    try:
        fit(value, spec.value_schema, spec.value_schema, "its value")
    except MisfitError as error:
        return [Finding.of("XCS607", name=spec.name, reason=f"not what it should be: {error}")]
    return []
