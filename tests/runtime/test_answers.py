import dataclasses
import enum
import json
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, TypeAdapter

from xcs_airflow.runtime.answers import MisfitError, decode, fit


class Urgency(enum.Enum):
    LOW = "low"
    HIGH = "high"


class Team(BaseModel):
    name: str = Field(min_length=1, max_length=5)
    size: int = Field(ge=1, le=9)
    urgency: Urgency = Urgency.LOW


@dataclasses.dataclass
class Ticket:
    team: Team
    tags: list[Literal["a", "b"]]
    parent: "Ticket | None" = None
    scores: dict[str, float] = dataclasses.field(default_factory=dict)


WORD = {"enum": ["billing", "Bug", "other"], "type": "string"}
TEAM = TypeAdapter(Team).json_schema()


@pytest.mark.parametrize(
    ("text", "schema", "value"),
    [
        ("as it is\n", None, "as it is\n"),
        ('"billing"', WORD, "billing"),
        ("billing", WORD, "billing"),
        (" BUG\n", WORD, "Bug"),
        ('{"value": "Billing "}', WORD, "billing"),
        ('```json\n{"value": "other"}\n```', WORD, "other"),
        ("5", {"type": "integer"}, 5),
        ("5.0", {"type": "integer"}, 5),
        ('{"value": [1, 2]}', {"type": "array", "items": {"type": "integer"}}, [1, 2]),
        ('{"value": 1}', {"type": "object"}, {"value": 1}),
        ("null", {"anyOf": [{"type": "string"}, {"type": "null"}]}, None),
        ('{"name": "web", "size": 3, "urgency": "HIGH"}', TEAM, {"name": "web", "size": 3, "urgency": "high"}),
        ("yes", {"type": "string"}, "yes"),
    ],
)  # fmt: skip
def test_answers_that_fit(text, schema, value):
    assert decode(text, schema) == value


@pytest.mark.parametrize(
    ("text", "schema", "reason"),
    [
        ("", WORD, "^it is not JSON: Expecting value"),
        ("shipping", WORD, "^it is not JSON: Expecting value"),
        ('"shipping"', WORD, "the answer is 'shipping', not one of 'billing', 'Bug', 'other'"),
        ("true", {"type": "integer"}, "of type integer"),
        ("1", {"type": "boolean"}, "of type boolean"),
        ("1.5", {"type": "integer"}, "of type integer"),
        ("1e999", {"type": "number"}, "of type number"),
        ("NaN", {"type": "number"}, "^it is not JSON: NaN is not a JSON number"),
        ("9" * 5000, {"type": "integer"}, "^it is not JSON: Exceeds the limit"),
        ('{"a": 1, "a": 2}', {"type": "object"}, "twice"),
        ("{" * 100, {"type": "object"}, "levels"),
        ('{"name": "web"}', TEAM, "lacks size"),
        ('{"name": "", "size": 3}', TEAM, "name breaks minLength 1"),
        ('{"name": "web", "size": 10}', TEAM, "size breaks maximum 9"),
        ('{"name": "web", "size": 1, "x": 1}', {**TEAM, "additionalProperties": False}, "'x', which is not among name, size"),
        ('[1, "x"]', {"type": "array", "items": {"type": "integer"}}, r"the answer\[1\] is 'x'"),
        ("true", {"enum": [1]}, "not one of 1"),
        ("[1]", {"prefixItems": [{"type": "string"}], "type": "array"}, r"\[0\]"),
    ],
)
def test_answers_that_do_not_fit_say_where_and_why(text, schema, reason):
    with pytest.raises(MisfitError, match=reason):
        decode(text, schema)


def test_a_schema_may_say_never():
    with pytest.raises(MisfitError, match="must not be there"):
        fit({"a": 1}, {"properties": {"a": False}}, {})


TYPES = {
    str: st.text(),
    int: st.integers(-(2**53), 2**53),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    Literal["a", "b", 3]: st.sampled_from(["a", "b", 3]),
    Urgency: st.sampled_from(Urgency),
    Team: st.builds(Team, name=st.text(min_size=1, max_size=5), size=st.integers(1, 9)),
}


def values_of():
    leaf = st.sampled_from(list(TYPES)).flatmap(lambda kind: st.tuples(st.just(kind), TYPES[kind]))
    listed = st.sampled_from(list(TYPES)).flatmap(lambda kind: st.tuples(st.just(list[kind]), st.lists(TYPES[kind], max_size=3)))
    optional = st.sampled_from(list(TYPES)).flatmap(lambda kind: st.tuples(st.just(kind | None), st.none() | TYPES[kind]))
    pair = st.tuples(st.just(tuple[int, str]), st.tuples(TYPES[int], TYPES[str]))
    tickets = st.builds(
        Ticket, team=TYPES[Team], tags=st.lists(st.sampled_from("ab")), scores=st.dictionaries(st.text(), TYPES[float], max_size=2)
    )
    nested = st.tuples(st.just(Ticket), st.builds(dataclasses.replace, tickets, parent=st.none() | tickets))
    return leaf | listed | optional | pair | nested


@given(values_of())
def test_whatever_a_type_describes_fits_its_schema_unchanged(typed):
    kind, value = typed
    adapter = TypeAdapter(kind)
    document = adapter.dump_python(value, mode="json")
    schema = adapter.json_schema()
    assert fit(document, schema, schema) == document
    assert decode(json.dumps(document), schema) == document
