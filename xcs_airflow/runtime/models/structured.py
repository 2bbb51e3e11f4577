"""Output schemas on the wire: servers want an object at the root, and objects whose fields are all required.

It knows how a schema is put into such an object and taken out again, and which words of a schema which provider understands; it
does not check answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

WRAPPER_TOKENS = 32
"""What `{"value": …}` may add to an answer; a small tokeniser, indentation and a code fence were seen to use 22."""


@dataclass(frozen=True, slots=True)
class Grammar:
    """What a provider that holds a model to a schema understands of JSON Schema.

    Attributes:
        refused: Words that the schema cannot do without and the provider does not know.
        told: Words the provider does not know either, but that only narrow an answer: the model is told, and the answer is checked
            here anyway.
        formats: The formats of text it knows; None knows all.
        is_recursive: Whether a schema may contain itself.
    """

    refused: frozenset[str]
    told: frozenset[str] = frozenset()
    formats: frozenset[str] | None = None
    is_recursive: bool = True


# platform.openai.com/docs/guides/structured-outputs, "Supported schemas"; it does not name the lengths of strings.
OPENAI = Grammar(
    frozenset({"oneOf", "allOf", "not", "if", "patternProperties", "prefixItems", "uniqueItems", "minLength", "maxLength", "propertyNames"})
)

# platform.claude.com/docs/en/build-with-claude/structured-outputs, "JSON Schema limitations", 2026-10. It takes simple patterns,
# and nobody says which are simple.
ANTHROPIC = Grammar(
    frozenset({"oneOf", "allOf", "not", "if", "patternProperties", "prefixItems", "propertyNames"}),
    frozenset(
        {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
        | {"minLength", "maxLength", "pattern", "minItems", "maxItems", "uniqueItems"}
    ),
    frozenset({"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}),
    is_recursive=False,
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


def strict_form(schema: Mapping[str, Any], grammar: Grammar = OPENAI) -> dict[str, Any] | None:
    """The schema as a provider takes it that holds the model to it: every object closed, every field required.

    It is never wider than the schema, but for the words that the model is only told.

    Args:
        schema: What answers must fit.
        grammar: What the provider understands.

    Returns:
        The schema to send; None when the grammar cannot say it.
    """
    try:
        form = _narrowed(schema, grammar)
    except _NotStrictError:
        return None
    return form if grammar.is_recursive or not _contains_itself(schema) else None


class _NotStrictError(Exception):
    pass


_KINDS = frozenset({"type", "enum", "const", "anyOf", "$ref"})


def _narrowed(schema: Any, grammar: Grammar) -> dict[str, Any]:
    if not isinstance(schema, Mapping) or not grammar.refused.isdisjoint(schema) or _KINDS.isdisjoint(schema):
        raise _NotStrictError
    left_out = {"default", "title", *grammar.told}
    if grammar.formats is not None and schema.get("format") not in grammar.formats:
        left_out.add("format")
    result = {word: part for word, part in schema.items() if word not in left_out}
    rules = [f"{word}: {schema[word]}" for word in sorted((left_out - {"default", "title"}) & schema.keys())]
    if rules:
        result["description"] = " ".join([*([str(schema["description"])] if "description" in schema else []), f"({', '.join(rules)})"])
    for word in ("properties", "$defs"):
        if word in schema:
            result[word] = {name: _narrowed(part, grammar) for name, part in schema[word].items()}
    if "anyOf" in schema:
        result["anyOf"] = [_narrowed(part, grammar) for part in schema["anyOf"]]
    if "items" in schema:
        result["items"] = _narrowed(schema["items"], grammar)
    if schema.get("type") == "object":
        if "properties" not in schema or schema.get("additionalProperties", False) is not False:
            raise _NotStrictError
        result |= {"required": list(schema["properties"]), "additionalProperties": False}
    return result


def contains_itself_at_root(schema: Mapping[str, Any]) -> bool:
    """Whether a schema refers to itself as a whole, so that it means another thing inside a larger one."""
    return "#" in _definitions_in(schema)


def _contains_itself(schema: Mapping[str, Any]) -> bool:
    """Whether one of the definitions leads back to itself."""
    leads_to = {name: _definitions_in(part) for name, part in schema.get("$defs", {}).items()}
    for name, first in leads_to.items():
        seen: set[str] = set()
        ahead = set(first)
        while ahead:
            seen |= ahead
            ahead = {further for known in ahead for further in leads_to.get(known, ())} - seen
        if name in seen:
            return True
    return contains_itself_at_root(schema)


def _definitions_in(part: Any) -> set[str]:
    """The names of the definitions that a part of a schema refers to; `#` is the whole."""
    if isinstance(part, Mapping):
        own = {part["$ref"].rpartition("/")[2]} if isinstance(part.get("$ref"), str) else set()
        return own.union(*(_definitions_in(inner) for inner in part.values()))
    if isinstance(part, (list, tuple)):
        return set().union(*(_definitions_in(inner) for inner in part))
    return set()
