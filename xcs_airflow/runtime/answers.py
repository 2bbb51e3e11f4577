"""Reading answers: text as it is, or JSON that fits a schema.

It knows the part of JSON Schema that type annotations become; it does not know how an answer was obtained. A validator of
this size is enough for that part, and keeps the runtime free of one more dependency.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from xcs_airflow.canonical import DocumentError, load_json
from xcs_airflow.errors import CODES
from xcs_airflow.runtime.models.structured import needs_wrapper, unwrapped

_FENCE = re.compile(r"\A\s*```\w*\s*\n(.*?)\n?\s*```\s*\Z", re.DOTALL)


class MisfitError(ValueError):
    """An answer does not fit its schema; the text says where and why."""


def decode(text: str, schema: dict[str, Any] | None) -> Any:
    """The value an answer stands for.

    Args:
        text: The answer.
        schema: What it must fit; None takes the text as it is.

    Raises:
        MisfitError: It does not fit.
    """
    if schema is None:
        return text
    source = _inside_fence(text)
    try:
        document = load_json(source)
    except DocumentError as error:
        # A bare word is a fine answer where words are asked for.
        try:
            return fit(source.strip(), schema, schema)
        except MisfitError:
            raise MisfitError(_why_no_json(error)) from None
    return fit(unwrapped(document) if needs_wrapper(schema) else document, schema, schema)


def document_in(text: str) -> Any:
    """The JSON that an answer is, with or without a fence of Markdown around it.

    Raises:
        DocumentError: It is none.
    """
    return load_json(_inside_fence(text))


def _inside_fence(text: str) -> str:
    fenced = _FENCE.match(text)
    return fenced[1] if fenced else text


def _why_no_json(error: DocumentError) -> str:
    if "reason" in error.facts:
        return f"it is not JSON: {error.facts['reason']}"
    return CODES[error.code].message.format_map(error.facts)


def fit(value: Any, schema: Mapping[str, Any] | bool, root: Mapping[str, Any], where: str = "the answer") -> Any:
    """The value, if it fits; words that differ from an allowed one in case or space alone become that one.

    Args:
        value: JSON.
        schema: What it must fit.
        root: The schema that `$ref` looks into.
        where: The name of the value in messages.

    Raises:
        MisfitError: It does not fit.
    """
    if isinstance(schema, bool):
        _require(schema, f"{where} must not be there")
        return value
    value = _fit_others(value, schema, root, where)
    if "enum" in schema or "const" in schema:
        value = _member(value, schema.get("enum", [schema.get("const")]), where)
    if "type" in schema:
        value = _typed(value, schema["type"], where)
    for word in _BOUNDS.keys() & schema.keys():
        if _concerns(value, word):
            _require(_BOUNDS[word](value, schema[word]), f"{where} breaks {word} {schema[word]}")
    if isinstance(value, dict):
        return _fit_object(value, schema, root, where)
    if isinstance(value, list):
        return _fit_array(value, schema, root, where)
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": _is_number,
    "integer": lambda value: _is_number(value) and value % 1 == 0,
}
_BOUNDS: dict[str, Callable[[Any, Any], bool]] = {
    "minimum": lambda value, bound: value >= bound,
    "maximum": lambda value, bound: value <= bound,
    "exclusiveMinimum": lambda value, bound: value > bound,
    "exclusiveMaximum": lambda value, bound: value < bound,
    "multipleOf": lambda value, bound: value % bound == 0,
    "minLength": lambda value, bound: len(value) >= bound,
    "maxLength": lambda value, bound: len(value) <= bound,
    "pattern": lambda value, bound: re.search(bound, value) is not None,
    "minItems": lambda value, bound: len(value) >= bound,
    "maxItems": lambda value, bound: len(value) <= bound,
    "uniqueItems": lambda value, bound: not bound or all(item not in value[:index] for index, item in enumerate(value)),
}


def _concerns(value: Any, word: str) -> bool:
    """Whether a bound speaks of values of this type; JSON Schema ignores those that do not."""
    if word in ("minLength", "maxLength", "pattern"):
        return isinstance(value, str)
    if word in ("minItems", "maxItems", "uniqueItems"):
        return isinstance(value, list)
    return _is_number(value)


def _require(is_kept: bool, reason: str) -> None:
    if not is_kept:
        raise MisfitError(reason)


def _referred(pointer: str, root: Mapping[str, Any]) -> Any:
    found: Any = root
    for step in pointer.removeprefix("#").split("/")[1:]:
        found = found[step.replace("~1", "/").replace("~0", "~")]
    return found


def _member(value: Any, allowed: list[Any], where: str) -> Any:
    for choice in allowed:
        if value == choice and isinstance(value, bool) == isinstance(choice, bool):
            return choice
    if isinstance(value, str):
        word = value.strip().casefold()
        close = [choice for choice in allowed if isinstance(choice, str) and choice.strip().casefold() == word]
        if len(close) == 1:
            return close[0]
    raise MisfitError(f"{where} is {_shown(value)}, not one of {', '.join(map(_shown, allowed))}")


def _typed(value: Any, names: str | list[str], where: str) -> Any:
    allowed = [names] if isinstance(names, str) else names
    fitting = next((name for name in allowed if _TYPES[name](value)), None)
    _require(fitting is not None, f"{where} is {_shown(value)}, not of type {' or '.join(allowed)}")
    return int(value) if fitting == "integer" else value


def _fit_others(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], where: str) -> Any:
    """The value, if it fits the other schemas that this one names."""
    if "$ref" in schema:
        value = fit(value, _referred(str(schema["$ref"]), root), root, where)
    for word in ("anyOf", "oneOf"):
        if word in schema:
            value = _first_that_fits(value, schema[word], root, where)
    for part in schema.get("allOf", ()):
        value = fit(value, part, root, where)
    return value


def _first_that_fits(value: Any, choices: list[Any], root: Mapping[str, Any], where: str) -> Any:
    reasons = []
    for choice in choices:
        try:
            return fit(value, choice, root, where)
        except MisfitError as error:
            reasons.append(str(error))
    raise MisfitError("; ".join(dict.fromkeys(reasons)))


def _fit_object(value: dict[str, Any], schema: Mapping[str, Any], root: Mapping[str, Any], where: str) -> dict[str, Any]:
    properties = schema.get("properties", {})
    missing = [name for name in schema.get("required", ()) if name not in value]
    _require(not missing, f"{where} lacks {', '.join(missing)}")
    others = schema.get("additionalProperties", True)
    result = {}
    for name, item in value.items():
        if name not in properties and others is False:
            raise MisfitError(f"{where} has {name!r}, which is not among {', '.join(properties) or 'its fields'}")
        result[name] = fit(item, properties.get(name, others), root, f"{where}.{name}")
    return result


def _fit_array(value: list[Any], schema: Mapping[str, Any], root: Mapping[str, Any], where: str) -> list[Any]:
    first = schema.get("prefixItems", [])
    rest = schema.get("items", True)
    return [fit(item, first[index] if index < len(first) else rest, root, f"{where}[{index}]") for index, item in enumerate(value)]


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004  # a line's worth
