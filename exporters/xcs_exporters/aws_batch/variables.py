"""The `${Name}` variables of the emitted files: how text is kept from being one, and what CloudFormation makes of them.

The syntax is that of `Fn::Sub`: `${Name}` is a variable, `${!Name}` is the text `${Name}`. It does not know which names exist.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

VARIABLE = re.compile(r"\$\{((?:AWS::)?[A-Za-z0-9]+(?:\.[A-Za-z]+)?)\}")
_BRACED = re.compile(r"\$\{([^{}]*)\}")
_ESCAPED = re.compile(r"\$\{!([^{}]*)\}")

_FREE_KEYS = frozenset({"parameters", "options", "tags"})
"""Fields of a job definition whose own keys are names, not fields."""


def literal(text: str) -> str:
    """Text written so that nothing in it is a variable."""
    return _BRACED.sub(r"${!\1}", text)


def variables_in(value: Any) -> Iterator[str]:
    """The name of every variable inside a document, in writing order; of `${Role.Arn}` only `Role`."""
    if isinstance(value, str):
        yield from (match[1].partition(".")[0] for match in VARIABLE.finditer(value))
    elif isinstance(value, dict):
        for item in value.values():
            yield from variables_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from variables_in(item)


def as_intrinsic(text: str) -> str | dict[str, Any]:
    """What CloudFormation calls a text with variables: `Ref`, `Fn::GetAtt`, `Fn::Sub`, or plain text when it has none."""
    whole = VARIABLE.fullmatch(text)
    if whole is not None:
        name, _, attribute = whole[1].partition(".")
        return {"Fn::GetAtt": [name, attribute]} if attribute else {"Ref": name}
    if VARIABLE.search(text):
        return {"Fn::Sub": text}
    return _ESCAPED.sub(r"${\1}", text)


def as_properties(value: Any) -> Any:
    """A request of the Batch API as CloudFormation properties: variables resolved, field names with a capital."""
    if isinstance(value, str):
        return as_intrinsic(value)
    if isinstance(value, list):
        return [as_properties(item) for item in value]
    if isinstance(value, dict):
        return {
            name[0].upper() + name[1:]: {key: as_intrinsic(text) for key, text in field.items()}
            if name in _FREE_KEYS
            else as_properties(field)
            for name, field in value.items()
        }
    return value
