from typing import Literal

import pytest
from pydantic import TypeAdapter

from xcs_airflow.manifest import ParameterSpec
from xcs_exporters.airflow.params import fits, form_schema, params_of


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (str, {"type": "string"}),
        (int, {"type": "integer"}),
        (bool, {"type": "boolean"}),
        (str | None, {"type": ["string", "null"]}),
        (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
        (Literal["a", "b"] | None, {"type": ["string", "null"], "enum": ["a", "b", None]}),
        (Literal["a"], {"type": "string", "enum": ["a"]}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (dict[str, int], {"type": "object"}),
        (int | str, {}),
    ],
)
def test_the_form_shows_the_type_and_the_choices(annotation, expected):
    assert form_schema(TypeAdapter(annotation).json_schema()) == expected


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "http://127.0.0.1/schema"},
        {"type": "array", "items": {"$ref": "file:///etc/passwd"}},
        {"type": "string", "pattern": "(a+)+$", "$id": "http://127.0.0.1/", "format": "uri"},
        {"anyOf": [{"$ref": "http://127.0.0.1/"}, {"type": "null"}]},
        {"type": {"$ref": "x"}, "enum": {"$ref": "x"}, "anyOf": "x"},
    ],
)
def test_nothing_that_airflow_would_fetch_or_interpret_is_kept(schema):
    assert "$" not in str(form_schema(schema))
    assert "pattern" not in form_schema(schema)


@pytest.mark.parametrize(
    ("value", "form", "expected"),
    [
        ("a", {"type": "string"}, True),
        (None, {"type": "string"}, False),
        (None, {"type": ["string", "null"]}, True),
        (True, {"type": "integer"}, False),
        (1, {"type": "number"}, True),
        (5, {"type": "integer", "maximum": 4}, False),
        ("c", {"type": "string", "enum": ["a", "b"]}, False),
        ([1, "x"], {"type": "array", "items": {"type": "integer"}}, False),
        ("anything", {}, True),
    ],
)
def test_a_default_is_checked_as_airflow_would(value, form, expected):
    assert fits(value, form) is expected


def test_a_default_that_does_not_fit_its_annotation_is_left_to_the_runtime():
    spec = ParameterSpec(name="path", has_default=True, default=None, value_schema={"type": "string"})
    assert params_of([spec]) == ()


def test_choices_that_no_database_holds_are_left_to_the_runtime():
    spec = ParameterSpec(name="path", has_default=True, default="a", value_schema={"type": "string", "enum": ["a", "b\0"]})
    assert params_of([spec]) == ()


def test_a_parameter_without_a_default_is_never_null_by_accident():
    (param,) = params_of([ParameterSpec(name="path")])
    assert not fits(None, param.schema)
    assert all(fits(value, param.schema) for value in ("", 0, 0.5, False, [], {}))


@pytest.mark.parametrize("default", ["nul\0byte", ["half \ud83d"], {"a\0": 1}])
def test_a_default_that_no_database_holds_is_left_to_the_runtime(default):
    specs = [ParameterSpec(name="path", has_default=True, default=default), ParameterSpec(name="n", has_default=True, default="\\u0000")]
    assert [param.name for param in params_of(specs)] == ["n"]
