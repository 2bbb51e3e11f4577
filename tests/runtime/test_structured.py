from typing import Literal

from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter

from xcs_airflow.runtime.models.structured import needs_wrapper, strict_form, unwrapped, wrapped


class Part(BaseModel):
    name: str
    count: int = 1


class Whole(BaseModel):
    parts: list[Part]
    kind: Literal["a", "b"] | None = None


def test_only_objects_go_without_a_wrapper():
    assert not needs_wrapper(TypeAdapter(Whole).json_schema())
    assert needs_wrapper({"enum": ["a"], "type": "string"})
    assert needs_wrapper({"anyOf": [{"type": "object"}, {"type": "null"}]})


def test_definitions_stay_at_the_root():
    schema = TypeAdapter(list[Part]).json_schema()
    result = wrapped(schema)
    assert result["$defs"] == schema["$defs"]
    assert result["properties"]["value"] == {"items": {"$ref": "#/$defs/Part"}, "type": "array"}
    assert result["required"] == ["value"]


@given(st.none() | st.integers() | st.text() | st.dictionaries(st.text(), st.integers()))
def test_what_is_wrapped_comes_out_again(value):
    assert unwrapped({"value": value}) == value


def test_what_is_not_wrapped_stays():
    assert unwrapped({"value": 1, "other": 2}) == {"value": 1, "other": 2}
    assert unwrapped([1]) == [1]


def test_the_strict_form_closes_objects_and_requires_every_field():
    form = strict_form(TypeAdapter(Whole).json_schema())
    assert form["required"] == ["parts", "kind"]
    assert form["additionalProperties"] is False
    assert form["$defs"]["Part"] == {
        "type": "object",
        "properties": {"name": {"type": "string"}, "count": {"type": "integer"}},
        "required": ["name", "count"],
        "additionalProperties": False,
    }
    assert "default" not in form["properties"]["kind"]


def test_a_field_may_be_called_like_a_word_of_the_language():
    form = strict_form({"type": "object", "properties": {"title": {"type": "string"}, "default": {"type": "string"}}})
    assert set(form["properties"]) == {"title", "default"}


def test_what_strict_mode_cannot_say_has_no_strict_form():
    assert strict_form(TypeAdapter(dict[str, int]).json_schema()) is None
    assert strict_form(TypeAdapter(tuple[int, str]).json_schema()) is None
    assert strict_form({"type": "object", "properties": {"x": {"type": "object"}}}) is None
    assert strict_form({"type": "object", "properties": {"x": {"type": "string", "maxLength": 20}}}) is None
