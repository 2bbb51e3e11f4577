"""Turns what people write into what a graph holds, and what a run returns into what people expect.

It knows Python values and JSON; it does not know steps.
"""

from __future__ import annotations

import dataclasses
import reprlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic_core import PydanticSerializationError, to_jsonable_python

from xcs_airflow.authoring.annotations import adapter_of
from xcs_airflow.authoring.symbolic import LEAKED, Each, SymbolicValue, Whole
from xcs_airflow.canonical import canonical_json
from xcs_airflow.errors import TraceError
from xcs_airflow.values import Constant, ListOf, RecordOf, Value

if TYPE_CHECKING:
    from xcs_airflow.authoring.trace import Trace


def to_value(thing: Any, trace: Trace) -> Value:
    """What a graph holds for a value: where it will come from, or the value itself as JSON.

    Raises:
        TraceError: It is neither JSON nor made of this trace's values.
    """
    if isinstance(thing, SymbolicValue):
        if thing._trace is not trace:  # noqa: SLF001
            raise TraceError.because("XCS113", what=repr(thing), place=trace.place())
        return thing._value  # noqa: SLF001
    if isinstance(thing, Each | Whole):
        raise TraceError.because("XCS104", value=thing, place=trace.place())
    if isinstance(thing, Mapping):
        return _record({_key(key): to_value(item, trace) for key, item in thing.items()})
    if isinstance(thing, list | tuple):
        return _list([to_value(item, trace) for item in thing])
    if isinstance(thing, set | frozenset):
        return _list(sorted((to_value(item, trace) for item in thing), key=lambda value: value.model_dump_json()))
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        return _record({field.name: to_value(getattr(thing, field.name), trace) for field in dataclasses.fields(thing)})
    try:
        return Constant(constant=to_json(thing))
    except ValueError as error:
        raise TraceError.because("XCS104", value=_Short(thing), place=trace.place()) from error


def to_json(thing: Any) -> Any:
    """A value as JSON.

    Raises:
        ValueError: It has no JSON form, or is text that was made from a value that does not exist yet.
    """
    try:
        plain = to_jsonable_python(thing)
    except PydanticSerializationError as error:
        raise ValueError(str(error)) from error
    if LEAKED in canonical_json(plain):
        raise ValueError("the text was made from a value that does not exist yet")
    return plain


def from_json(shape: Any, value: Any) -> Any:
    """What a run returned, in the types of what was traced.

    Args:
        shape: What the traced function returned: steps' results, and lists, tuples and dicts of these.
        value: The JSON that a run computed for it.
    """
    if isinstance(shape, SymbolicValue):
        return value if value is None else adapter_of(shape._annotation).validate_python(value)  # noqa: SLF001
    if isinstance(shape, Mapping):
        return {key: from_json(part, value[_key(key)]) for key, part in shape.items()}
    if isinstance(shape, list | tuple):
        parts = [from_json(part, item) for part, item in zip(shape, value, strict=True)]
        return tuple(parts) if isinstance(shape, tuple) else parts
    return shape


class _Short:
    """A value whose debugging form fits into a message."""

    def __init__(self, thing: Any) -> None:
        self._text = reprlib.repr(thing)

    def __repr__(self) -> str:
        return self._text


def _key(key: Any) -> str:
    return key if isinstance(key, str) else str(next(iter(to_jsonable_python({key: None}))))


def _record(fields: dict[str, Value]) -> Value:
    constants = [value for value in fields.values() if isinstance(value, Constant)]
    if len(constants) == len(fields):
        return Constant(constant={name: value.constant for name, value in zip(fields, constants, strict=True)})
    return RecordOf(fields=fields)


def _list(items: list[Value]) -> Value:
    constants = [item for item in items if isinstance(item, Constant)]
    return Constant(constant=[item.constant for item in constants]) if len(constants) == len(items) else ListOf(items=tuple(items))
