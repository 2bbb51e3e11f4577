"""Output schemas on the wire: servers want an object at the root, and objects whose fields are all required.

It knows how a schema is put into such an object and taken out again; it does not check answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WRAPPER_TOKENS = 32
"""What `{"value": …}` may add to an answer; a small tokeniser, indentation and a code fence were seen to use 22."""

# platform.openai.com/docs/guides/structured-outputs, "Supported schemas"; it does not name the lengths of strings.
_NOT_STRICT = frozenset(
    {"oneOf", "allOf", "not", "if", "patternProperties", "prefixItems", "uniqueItems", "minLength", "maxLength", "propertyNames"}
)


def needs_wrapper(schema: Mapping[str, Any]) -> bool:
    """Whether the answer is something else than an object."""
    return schema.get("type") != "object"


def wrapped(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of `{"value": answer}`."""
    inner = {name: part for name, part in schema.items() if name != "$defs"}
    outer = {"type": "object", "properties": {"value": inner}, "required": ["value"], "additionalProperties": False}
    return {**outer, "$defs": schema["$defs"]} if "$defs" in schema else outer


def unwrapped(document: Any) -> Any:
    """The answer inside `{"value": answer}`; anything else as it is."""
    return document["value"] if isinstance(document, dict) and document.keys() == {"value"} else document


def strict_form(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """The schema as OpenAI's strict mode takes it: every object closed, every field required; None when it cannot say that.

    It is never wider than the schema: what it admits, the schema admits.
    """
    try:
        return _narrowed(schema)
    except _NotStrictError:
        return None


class _NotStrictError(Exception):
    pass


def _narrowed(schema: Any) -> dict[str, Any]:
    if not isinstance(schema, Mapping) or not _NOT_STRICT.isdisjoint(schema):
        raise _NotStrictError
    result = {word: part for word, part in schema.items() if word not in ("default", "title")}
    for word in ("properties", "$defs"):
        if word in schema:
            result[word] = {name: _narrowed(part) for name, part in schema[word].items()}
    if "anyOf" in schema:
        result["anyOf"] = [_narrowed(part) for part in schema["anyOf"]]
    if "items" in schema:
        result["items"] = _narrowed(schema["items"])
    if schema.get("type") == "object":
        if "properties" not in schema or schema.get("additionalProperties", False) is not False:
            raise _NotStrictError
        result |= {"required": list(schema["properties"]), "additionalProperties": False}
    return result
