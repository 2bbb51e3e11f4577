"""What a value that does not exist yet refuses, and what it says."""

from __future__ import annotations

import copy

import pytest

from xcs_airflow.errors import TraceError

STEPS = """
import json, math, string
from typing import TypedDict
from pydantic import BaseModel

class Details(BaseModel):
    order: str

class Row(TypedDict):
    a: int

@op
def load(path: str = "in") -> list[str]:
    return [path]

@op
def count(x=None) -> int:
    return 1

@op
def row() -> Row:
    return {"a": 1}

@op
def pair() -> tuple[int, str]:
    return 1, "a"

ask = llm("openai/gpt-4.1-mini", "About {x}")
extract = llm("openai/gpt-4.1-mini", "About {x}", output=Details)

@pipeline
def flow(path: str = "in"):
    found, number, details = load(path), count(), extract("x")
    return count(BODY)
"""


PLACE = f"flow.py:{STEPS.count(chr(10)) + 1}"  # STEPS ends with BODY, one line below the imports


@pytest.fixture
def error_of(load):
    """The finding of a pipeline that hands an expression on to a step."""

    def trace(body: str):
        with pytest.raises(TraceError) as caught:
            load(STEPS.replace("BODY", body)).graph()
        return caught.value.findings[-1]

    return trace


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("1 if number else 2", "if %count"),
        ("number and 1", "if %count"),
        ("not number", "if %count"),
        ("[x for x in found]", "for item in %load"),
        ("list(found)", "for item in %load"),
        ("[*found]", "for item in %load"),
        ("dict(found)", "%load.keys"),
        ("len(found)", "len(%load)"),
        ("'a' in found", "... in %load"),
        ("str(number)", "str(%count)"),
        ("f'{number}'", "format(%count)"),
        ("f'{path:>9}'", "format($path)"),
        ("'{}'.format(number)", "format(%count)"),
        ("'%s' % number", "str(%count)"),
        ("'a' + path", "... + $path"),
        ("number + 1", "%count + ..."),
        ("1 - number", "... - %count"),
        ("number ** 2", "%count ** ..."),
        ("-number", "-%count"),
        ("number == 1", "%count == ..."),
        ("number < 1", "%count < ..."),
        ("3 > number", "%count < ..."),
        ("int(number)", "int(%count)"),
        ("round(number)", "round(%count)"),
        ("[1, 2][number]", "index(%count)"),
        ("{number: 1}", "hash(%count)"),
        ("{number}", "hash(%count)"),
        ("number()", "%count()"),
        ("found.append('x')", "%load.append"),
        ("path.strip()", "$path.strip"),
        ("path[0]", "$path[0]"),
        ("found[1:]", "%load[...]"),
        ("found[number]", "%load[...]"),
        ("number[0]", "%count[0]"),
        ("details['order']", "%extract['order']"),
        ("details.ordr", "%extract.ordr"),
        ("row()['b']", "%row['b']"),
        ("row().a", "%row.a"),
        ("pair()[2]", "%pair[2]"),
        ("math.sqrt(number)", "float(%count)"),
        ("range(number)", "index(%count)"),
        ("open(path)", "fspath($path)"),
        ("json.dumps(found)", "return count(json.dumps(found))"),
        ("','.join([path])", "return count(','.join([path]))"),
        ("Details(order=path)", "return count(Details(order=path))"),
    ],
)
def test_what_needs_the_value_is_refused_with_the_line(error_of, body, what):
    finding = error_of(body)

    assert (finding.code, finding.place) == ("XCS101", PLACE), finding
    assert f"`{what}` needs a value that is known only when the pipeline runs" == finding.message
    assert finding.hint


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        ("1 if number else 2", "decide inside a function with @op, or keep some items with .filter(...)"),
        ("[x for x in found]", "use .map(...) to run a step once per item, or iterate inside a function with @op"),
        ("f'{number}'", "make it an input of a prompt, as in {name}, or format it inside a function with @op"),
        ("details['order']", "write .order"),
        ("row().a", 'write ["a"]'),
        ("row()['b']", "Row has the parts 'a'"),
        ("pair()[2]", "tuple[int, str] has the parts 0, 1"),
    ],
)
def test_the_hint_says_what_to_write_instead(error_of, body, hint):
    assert hint == error_of(body).hint


def test_the_operation_is_shown_as_printed(error_of):
    assert f"%load = flow:load(path=$path)  # flow.py:{STEPS.count(chr(10))}" == error_of("len(found)").operation


def test_a_parameter_is_shown_as_such(error_of):
    assert error_of("path + 'x'").operation == "the parameter $path"


def test_a_text_made_from_the_debugging_form_is_found_out(error_of):
    finding = error_of("[f'{found!r} were read']")

    assert (finding.code, finding.place) == ("XCS104", PLACE)


def test_the_debugging_form_names_the_step(load):
    seen = load(STEPS.replace("BODY", "captured.append(repr(found)) or 1").replace("@pipeline", "captured = []\n@pipeline"))
    seen.graph()

    assert seen.__wrapped__.__globals__["captured"] == ["<%load, known only in a run>"]


def test_an_error_of_the_users_keeps_its_cause_and_line(error_of, load):
    finding = error_of("1 / 0")
    assert (finding.code, finding.place) == ("XCS111", PLACE)
    assert finding.message == "tracing flow failed: ZeroDivisionError: division by zero"

    with pytest.raises(TraceError) as caught:
        load(STEPS.replace("BODY", "1 / 0"), path="again.py").graph()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_value_from_another_trace_is_refused(load):
    flow = load(
        """
        kept = []

        @op
        def load(x: int = 0) -> int:
            return x

        @pipeline
        def flow():
            kept.append(load())
            return load(kept[0])
        """
    )
    flow.graph()
    with pytest.raises(TraceError) as caught:
        flow.graph()
    assert (caught.value.code, caught.value.findings[0].place) == ("XCS113", "flow.py:12")

    load_step, kept = (flow.__wrapped__.__globals__[name] for name in ("load", "kept"))
    with pytest.raises(TraceError, match="outside the pipeline"):
        load_step(kept[0])


def test_asking_for_special_attributes_is_answered_as_usual(load):
    flow = load(
        """
        kept = []

        @op
        def load() -> int:
            return 1

        @pipeline
        def flow():
            kept.append(load())
            return kept[-1]
        """
    )
    flow.graph()
    symbol = flow.__wrapped__.__globals__["kept"][0]

    assert not hasattr(symbol, "__array__")
    assert type(symbol) is type(copy.copy(symbol))


def test_every_finding_of_a_trace_is_reported_at_once(load):
    flow = load(
        """
        ask = llm("m/m", "About {topic} in {tone}")

        @op
        def load(path: str) -> list[str]:
            return [path]

        @pipeline
        def flow():
            ask(topik="cats", tone="dry")
            load(path=object())
            load("a", "b")
            load("a", path="b")
            ask.map(topic="cats", tone="dry")
            return len(load("c"))
        """
    )
    with pytest.raises(TraceError) as caught:
        flow.graph()

    assert [(finding.code, finding.place) for finding in caught.value.findings] == [
        ("XCS102", "flow.py:11"),
        ("XCS103", "flow.py:11"),
        ("XCS104", "flow.py:12"),
        ("XCS114", "flow.py:13"),
        ("XCS102", "flow.py:14"),
        ("XCS106", "flow.py:15"),
        ("XCS101", "flow.py:16"),
    ]
    assert caught.value.findings[0].hint == "did you mean 'topic'?"


@pytest.mark.parametrize("returned", ["5", "'text'", "{}", "[1, {'a': None}]", "object()", "load", "(x for x in 'ab')"])
def test_a_pipeline_returns_results(load, returned):
    flow = load(f"@op\ndef load(): ...\n@pipeline\ndef flow():\n    load()\n    return {returned}")

    with pytest.raises(TraceError) as caught:
        flow.graph()
    assert (caught.value.code, caught.value.findings[0].place) == ("XCS109", "flow.py:4")


def test_a_pipeline_takes_steps(load):
    with pytest.raises(TraceError, match="XCS109"):
        load("@pipeline\ndef flow(x: int):\n    return None").graph()


def test_a_refusal_that_was_caught_is_reported_all_the_same(load):
    flow = load(
        """
        @op
        def load() -> int:
            return 1

        @pipeline
        def flow():
            try:
                return load(len(load()))
            except Exception:
                return load()
        """
    )
    with pytest.raises(TraceError) as caught:
        flow.graph()
    assert [(finding.code, finding.place) for finding in caught.value.findings] == [("XCS101", "flow.py:10")]
