"""The small language that graphs and manifests share: where an input comes from, and how a prompt is filled.

It knows how to look a value up and how to render a prompt; it does not know operations, tasks or stores.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, JsonValue, Tag

CHECKS = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
"""What values have in common: they are immutable, with no unknown fields and no numbers JSON cannot hold."""


class Frozen(BaseModel):
    """A value: immutable, with no unknown fields and no numbers JSON cannot hold."""

    model_config = CHECKS


class Constant(Frozen):
    """A JSON value written in the pipeline itself."""

    constant: JsonValue


class Parameter(Frozen):
    """A parameter of the pipeline, known when a run starts."""

    parameter: str


class Ref(Frozen):
    """The result of another operation, or a part of it.

    Attributes:
        operation: The id of the operation.
        path: Keys and positions to follow into the result; empty for all of it.
    """

    operation: str
    path: tuple[str | int, ...] = ()


class ListOf(Frozen):
    """A list of values, some of which may come from operations."""

    items: tuple[Value, ...]


class RecordOf(Frozen):
    """A dict of values, some of which may come from operations."""

    fields: dict[str, Value]


_TAGS = ("constant", "parameter", "operation", "items", "fields")
_TAG_OF: dict[type, str] = {Constant: "constant", Parameter: "parameter", Ref: "operation", ListOf: "items", RecordOf: "fields"}


def _tag_of(value: object) -> str | None:
    if isinstance(value, Mapping):
        for tag in _TAGS:
            if tag in value:
                return tag
    return _TAG_OF.get(type(value))


Value = Annotated[
    Annotated[Constant, Tag("constant")]
    | Annotated[Parameter, Tag("parameter")]
    | Annotated[Ref, Tag("operation")]
    | Annotated[ListOf, Tag("items")]
    | Annotated[RecordOf, Tag("fields")],
    Discriminator(_tag_of),
]
"""Where a value comes from: a constant, a parameter, an operation, or a list or dict of these."""

ListOf.model_rebuild()
RecordOf.model_rebuild()


def references(value: Value) -> Iterator[Ref]:
    """Every reference inside a value, in writing order."""
    return (leaf for leaf in leaves(value) if isinstance(leaf, Ref))


def leaves(value: Value) -> Iterator[Constant | Parameter | Ref]:
    """Every constant, parameter and reference inside a value, in writing order."""
    if isinstance(value, Constant | Parameter | Ref):
        return iter((value,))
    parts = value.items if isinstance(value, ListOf) else value.fields.values()
    return chain.from_iterable(map(leaves, parts))


def rewrite(value: Value, change: Callable[[Ref], Ref]) -> Value:
    """The same value with every reference changed; the same object when none is."""
    if isinstance(value, Ref):
        return change(value)
    if isinstance(value, ListOf):
        items = tuple(rewrite(item, change) for item in value.items)
        same = all(new is old for new, old in zip(items, value.items, strict=True))
        return value if same else ListOf(items=items)
    if isinstance(value, RecordOf):
        fields = {name: rewrite(item, change) for name, item in value.fields.items()}
        same = all(fields[name] is old for name, old in value.fields.items())
        return value if same else RecordOf(fields=fields)
    return value


def resolve(value: Value, parameters: Mapping[str, Any], result_of: Callable[[str], Any]) -> Any:
    """Compute a value.

    Args:
        value: Where it comes from.
        parameters: The parameters of this run.
        result_of: Gives the whole result of an operation by its id.

    Raises:
        KeyError, IndexError, TypeError: A path does not fit the result it is followed into.
    """
    if isinstance(value, Constant):
        return value.constant
    if isinstance(value, Parameter):
        return parameters[value.parameter]
    if isinstance(value, ListOf):
        return [resolve(item, parameters, result_of) for item in value.items]
    if isinstance(value, RecordOf):
        return {name: resolve(item, parameters, result_of) for name, item in value.fields.items()}
    result = result_of(value.operation)
    for step in value.path:
        result = result[step]
    return result


class Hole(Frozen):
    """The place of an input inside a message."""

    input: str


class Message(Frozen):
    """One message of a prompt: text with holes for inputs."""

    role: Literal["system", "user", "assistant"] = "user"
    parts: tuple[str | Hole, ...]


class Prompt(Frozen):
    """A prompt as data: what is text and what is an input was decided once, when it was written.

    Inputs are put in as they are and never read again, so no input can add a hole or a message.
    """

    messages: tuple[Message, ...]

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of its inputs, each once, in writing order."""
        names = (part.input for message in self.messages for part in message.parts if isinstance(part, Hole))
        return tuple(dict.fromkeys(names))

    def render(self, inputs: Mapping[str, Any]) -> list[dict[str, str]]:
        """The messages to send, each `{"role": ..., "content": ...}`.

        Args:
            inputs: A value for every input; text goes in as it is, anything else as JSON.
        """
        return [
            {
                "role": message.role,
                "content": "".join(part if isinstance(part, str) else as_text(inputs[part.input]) for part in message.parts),
            }
            for message in self.messages
        ]


def as_text(value: Any) -> str:
    """How a value reads inside a prompt: text as it is, everything else as JSON with sorted keys, so that equal values ask equally."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
