"""The parameters of a pipeline as Airflow shows and checks them before a run.

It knows the part of JSON Schema that Airflow's form understands; the runtime checks every parameter again, against all of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xcs_airflow.manifest import ParameterSpec

_ANYTHING_BUT_NULL = ["string", "number", "boolean", "object", "array"]
_CANNOT_BE_STORED = re.compile("[\0\ud800-\udfff]")

_IS_A: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


@dataclass(frozen=True)
class Param:
    """One parameter of the DAG.

    Attributes:
        name: Its name.
        has_default: Whether a run may leave it out.
        default: The value then.
        schema: What Airflow checks; by construction the default passes.
    """

    name: str
    has_default: bool
    default: Any
    schema: dict[str, Any]


def params_of(specs: Sequence[ParameterSpec]) -> tuple[Param, ...]:
    """The parameters that Airflow can show.

    Airflow hands every default to the tasks as if the run had set it. So a default that would not survive that is left to the
    runtime, which has it from the manifest; a run may still set such a parameter in its configuration. These are defaults that
    do not fit their own annotation, and those that PostgreSQL's JSON cannot hold: NUL, or half a surrogate pair.
    """
    return tuple(_param(spec) for spec in specs if _is_shown(spec))


def _is_shown(spec: ParameterSpec) -> bool:
    form = form_schema(spec.value_schema)
    if any(map(_CANNOT_BE_STORED.search, (spec.name, *_texts([spec.default, form])))):
        return False
    return not spec.has_default or fits(spec.default, form)


def _texts(value: Any) -> Iterator[str]:
    """Every text inside a JSON value, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        yield from _texts([*value.values()])
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _param(spec: ParameterSpec) -> Param:
    schema = form_schema(spec.value_schema)
    if not spec.has_default and not schema:
        # Airflow takes a parameter that is not given for null.
        schema = {"type": _ANYTHING_BUT_NULL}
    return Param(spec.name, has_default=spec.has_default, default=spec.default, schema=schema)


def form_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a JSON Schema that decides which field Airflow's form shows: type, choices, range, type of items.

    References are dropped: the validator that Airflow calls would fetch them from wherever they point.
    """
    variants = schema.get("anyOf")
    if isinstance(variants, list):
        return _optional([variant for variant in variants if isinstance(variant, dict)])
    types = list(dict.fromkeys(name for name in _listed(schema.get("type")) if isinstance(name, str) and name in _IS_A))
    if not types:
        return {}
    form: dict[str, Any] = {"type": types[0] if len(types) == 1 else types}
    choices = [schema["const"]] if "const" in schema else schema.get("enum")
    if isinstance(choices, list) and choices and all(isinstance(choice, str | int | float | None) for choice in choices):
        form["enum"] = choices
    form |= {key: schema[key] for key in ("minimum", "maximum") if _IS_A["number"](schema.get(key))}
    items = form_schema(schema["items"]) if isinstance(schema.get("items"), dict) else {}
    return {**form, "items": items} if items else form


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _optional(variants: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Airflow's form knows one way to say that a value may be missing: null as a second type."""
    real = [form_schema(variant) for variant in variants if variant.get("type") != "null"]
    if len(real) != 1 or len(variants) != len(real) + 1 or not isinstance(real[0].get("type"), str):
        return {}
    form = {**real[0], "type": [real[0]["type"], "null"]}
    return {**form, "enum": [*form["enum"], None]} if "enum" in form else form


def fits(value: Any, form: Mapping[str, Any]) -> bool:
    """Whether a value passes a schema made by `form_schema`."""
    if not form:
        return True
    if not any(_IS_A[name](value) for name in _listed(form["type"])):
        return False
    if "enum" in form and not any(type(choice) is type(value) and choice == value for choice in form["enum"]):
        return False
    if _IS_A["number"](value) and not form.get("minimum", value) <= value <= form.get("maximum", value):
        return False
    return not isinstance(value, list) or all(fits(item, form.get("items", {})) for item in value)
