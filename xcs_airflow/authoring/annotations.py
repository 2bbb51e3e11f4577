"""What type annotations say about values: whether they are lists, what their parts are, how they look as JSON.

It knows types; it does not know operations or graphs. An unknown type is `Any`.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, JsonValue, TypeAdapter
from pydantic.errors import PydanticInvalidForJsonSchema, PydanticSchemaGenerationError, PydanticUserError
from typing_extensions import TypeAliasType

from xcs_airflow.errors import TraceError

_LISTS = (collections.abc.Iterable, collections.abc.AsyncIterable)
_NOT_LISTS = (str, bytes, bytearray, collections.abc.Mapping, BaseModel)
_SCALARS = (str, bytes, int, float, bool, complex, enum.Enum, types.NoneType)


def hints_of(func: Callable[..., Any], place: str | None) -> dict[str, Any]:
    """The annotations of a function, names resolved.

    Raises:
        TraceError: An annotation names what does not exist.
    """
    try:
        return typing.get_type_hints(func, include_extras=True)
    except NameError as error:
        name = getattr(func, "__name__", "function")
        raise TraceError.because("XCS111", function=name, reason=f"in its annotations, {error}", place=place) from error


def is_list(annotation: Any) -> bool | None:
    """Whether values of a type are lists of any length; None when the type does not say."""
    plain = _plain(annotation)
    if get_origin(plain) in (Union, types.UnionType):
        answers = {is_list(choice) for choice in get_args(plain) if choice is not types.NoneType}
        return answers.pop() if len(answers) == 1 else None
    if get_origin(plain) is Literal:
        return False
    kind = get_origin(plain) or plain
    if kind is tuple:
        return _is_open_tuple(plain)
    if not isinstance(kind, type) or kind in (Any, object):
        return None
    return issubclass(kind, _LISTS) and not issubclass(kind, _NOT_LISTS) and not typing.is_typeddict(kind)


def item_of(annotation: Any) -> Any:
    """The type of the items of a list type."""
    plain = _plain(annotation)
    if get_origin(plain) in (Union, types.UnionType):
        return next((item_of(choice) for choice in get_args(plain) if is_list(choice)), Any)
    return (get_args(plain) or (Any,))[0]


def list_of(item: Any) -> Any:
    """The type of lists whose items have a type."""
    return types.GenericAlias(list, (item,))


def positions_of(annotation: Any) -> tuple[Any, ...] | None:
    """The types of the parts of a tuple of known length; None for any other type."""
    plain = _plain(annotation)
    return get_args(plain) if get_origin(plain) is tuple and not _is_open_tuple(plain) else None


def attributes_of(annotation: Any) -> Mapping[str, tuple[str, Any]] | None:
    """For a type whose parts are attributes: their names, each with its name in JSON and its type; None for any other type."""
    plain = _plain(annotation)
    if isinstance(plain, type) and issubclass(plain, BaseModel):
        fields = plain.model_fields.items()
        return {name: (field.serialization_alias or field.alias or name, field.annotation) for name, field in fields}
    if isinstance(plain, type) and dataclasses.is_dataclass(plain):
        return {name: (name, hint) for name, hint in typing.get_type_hints(plain).items()}
    return None


def keys_of(annotation: Any) -> Mapping[str, Any] | None:
    """The keys of a typed dict and their types; None for any other type."""
    plain = _plain(annotation)
    return typing.get_type_hints(plain) if typing.is_typeddict(plain) else None


def is_scalar(annotation: Any) -> bool:
    """Whether values of a type have no parts."""
    plain = _plain(annotation)
    return get_origin(plain) is Literal or (isinstance(plain, type) and issubclass(plain, _SCALARS))


def value_of(annotation: Any) -> Any:
    """The type of the values of a dict type; Any for any other type."""
    plain = _plain(annotation)
    kind = get_origin(plain)
    return get_args(plain)[1] if isinstance(kind, type) and issubclass(kind, collections.abc.Mapping) else Any


def type_name(annotation: Any) -> str:
    """A type as people write it."""
    return annotation.__name__ if isinstance(annotation, type) and not get_args(annotation) else str(annotation).replace("typing.", "")


def adapter_of(annotation: Any) -> TypeAdapter[Any]:
    """Reads values of a type from JSON; what is iterated only once is read as a list."""
    return TypeAdapter(list_of(item_of(annotation)) if is_list(annotation) else annotation)


def schema_of(annotation: Any, function: str, place: str | None) -> dict[str, JsonValue]:
    """The JSON Schema of a type; objects hold the fields they name and no others.

    Raises:
        TraceError: Values of the type are not JSON.
    """
    try:
        schema = adapter_of(annotation).json_schema()
    except (PydanticInvalidForJsonSchema, PydanticSchemaGenerationError, PydanticUserError) as error:
        raise TraceError.because("XCS108", type=type_name(annotation), function=function, place=place) from error
    _close_objects(schema)
    return schema


def _close_objects(schema: Any) -> None:
    if isinstance(schema, dict):
        if schema.get("type") == "object" and "properties" in schema:
            schema.setdefault("additionalProperties", False)
        for part in schema.values():
            _close_objects(part)
    elif isinstance(schema, list):
        for part in schema:
            _close_objects(part)


def _plain(annotation: Any) -> Any:
    """A type without its aliases and without what `Annotated` adds to it."""
    while True:
        if get_origin(annotation) is typing.Annotated:
            annotation = get_args(annotation)[0]
        elif isinstance(annotation, _ALIASES):
            annotation = annotation.__value__
        elif hasattr(annotation, "__supertype__"):
            annotation = annotation.__supertype__
        else:
            return annotation


def _is_open_tuple(annotation: Any) -> bool:
    parts = get_args(annotation)
    return not parts or parts[-1] is Ellipsis


_ALIASES = tuple({TypeAliasType, getattr(typing, "TypeAliasType", TypeAliasType)})
