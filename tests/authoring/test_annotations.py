"""What types say about values."""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Literal, NewType, Optional, TypedDict

import pytest
from pydantic import BaseModel, Field

from xcs_airflow.authoring import annotations
from xcs_airflow.errors import TraceError

Texts = NewType("Texts", list[str])


class Colour(enum.Enum):
    RED = "red"


class Person(BaseModel):
    name: str = Field(alias="Name")
    born: date | None = None


@dataclass
class Point:
    x: int


class Row(TypedDict):
    a: int


LISTS = [list, list[str], Sequence[int], Iterable[str], Generator[str, None, None], AsyncIterator[str], tuple[str, ...], tuple, set[str]]
LISTS += [Annotated[list[str], "doc"], Texts, list[str] | None, Optional[list[int]]]  # noqa: UP045  # the old form counts too
NOT_LISTS = [
    str,
    bytes,
    int,
    bool,
    type(None),
    dict,
    dict[str, list[str]],
    Mapping[str, int],
    tuple[int, str],
    Literal["a"],
    Person,
    Point,
    Row,
    Colour,
]
UNKNOWN = [Any, object, list[str] | str]


@pytest.mark.parametrize(
    ("annotation", "answer"), [*((t, True) for t in LISTS), *((t, False) for t in NOT_LISTS), *((t, None) for t in UNKNOWN)]
)
def test_a_type_says_whether_its_values_are_lists(annotation, answer):
    assert answer is annotations.is_list(annotation)


@pytest.mark.parametrize(
    ("annotation", "item"), [(list[int], int), (list, Any), (Texts, str), (tuple[str, ...], str), (list[int] | None, int)]
)
def test_a_list_type_says_what_its_items_are(annotation, item):
    assert item is annotations.item_of(annotation)


def test_parts_that_are_attributes_have_their_name_in_json():
    assert ("Name", str) == annotations.attributes_of(Person)["name"]
    assert {"x": ("x", int)} == annotations.attributes_of(Point)
    assert annotations.attributes_of(dict) is None


def test_a_schema_closes_the_objects_that_name_their_fields():
    class Outer(BaseModel):
        inner: list[Point]
        free: dict[str, int]

    schema = annotations.schema_of(Outer, "f", None)

    assert schema["additionalProperties"] is False
    assert schema["$defs"]["Point"]["additionalProperties"] is False
    assert schema["properties"]["free"]["additionalProperties"] == {"type": "integer"}


def test_an_open_object_stays_open():
    class Open(BaseModel, extra="allow"):
        a: int

    assert annotations.schema_of(Open, "f", None)["additionalProperties"] is True


@pytest.mark.parametrize("annotation", [type, pytest.Item])
def test_a_type_that_is_not_json_is_named(annotation):
    with pytest.raises(TraceError) as caught:
        annotations.schema_of(annotation, "extract", "flow.py:3")
    assert (caught.value.code, caught.value.findings[0].place) == ("XCS108", "flow.py:3")


def test_an_annotation_that_names_what_does_not_exist_is_found():
    def load() -> Missing: ...  # noqa: F821

    with pytest.raises(TraceError, match="'Missing' is not defined"):
        annotations.hints_of(load, None)


def test_an_iterable_is_read_from_json_as_a_list():
    assert [date(2026, 1, 2)] == annotations.adapter_of(Iterable[date]).validate_python(["2026-01-02"])
