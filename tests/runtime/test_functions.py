import dataclasses
import sys

import pytest

from xcs_airflow.errors import RuntimeTaskError
from xcs_airflow.runtime.functions import Function, code_on_path

MODULE = """
from __future__ import annotations
import asyncio, dataclasses, datetime, enum, functools
from collections.abc import Iterable
from typing import TYPE_CHECKING
from pydantic import BaseModel
if TYPE_CHECKING:
    from nowhere import Thing

class Color(enum.Enum):
    RED = "red"

class Ticket(BaseModel):
    text: str
    day: datetime.date = datetime.date(2026, 1, 2)

@dataclasses.dataclass
class Note:
    color: Color
    ticket: Ticket | None = None

def types(ticket: Ticket, notes: list[Note], words: Iterable[str], anything, pair: tuple[int, str] = (1, "a")):
    assert isinstance(ticket, Ticket) and isinstance(notes[0], Note) and notes[0].color is Color.RED
    assert (list(words), list(words)) == (["a"], ["a"]) and isinstance(pair, tuple) and anything == {"x": 1}
    return [ticket, notes[0], {"when": ticket.day}, {3}, (1, 2)]

async def later(x):
    await asyncio.sleep(0)
    return x + 1

def count(n: int):
    for index in range(n):
        yield Note(Color.RED)

async def count_later(n):
    for index in range(n):
        await asyncio.sleep(0)
        yield index

def unknown(x: Thing):
    return x

def raises(x):
    return helper(x)

def helper(x):
    return 1 / x        # line 47

def late(n):
    yield 1
    raise KeyError("gone")

def leaves(x):
    raise SystemExit(3)

def strange(x):
    return object()

def nan(x):
    return float("nan")

class Box:
    @staticmethod
    def inside(x):
        return ["inside", x]

def decorate(function):
    @functools.wraps(function)
    def inner(*args, **kwargs):
        raise AssertionError("the decorator must not run")
    return inner

@decorate
def decorated(x: int):
    return x
"""


@pytest.fixture(autouse=True)
def module(tmp_path):
    (tmp_path / "shop.py").write_text(MODULE)
    with code_on_path(tmp_path):
        yield


def test_inputs_become_what_the_annotations_say_and_results_json():
    inputs = {"ticket": {"text": "hi"}, "notes": [{"color": "red"}], "words": ["a"], "anything": {"x": 1}, "pair": [1, "b"]}
    ticket = {"text": "hi", "day": "2026-01-02"}
    expected = [ticket, {"color": "red", "ticket": None}, {"when": "2026-01-02"}, [3], [1, 2]]
    assert list(Function("shop:types").run(inputs)) == expected


def test_an_input_that_does_not_fit_names_itself():
    with pytest.raises(RuntimeTaskError, match=r"XCS613.*'ticket' of shop:types.*text") as caught:
        Function("shop:types")({"ticket": {"test": "hi"}})
    assert "Field required" in str(caught.value)


def test_an_annotation_that_cannot_be_read_leaves_the_input_as_it_is():
    assert Function("shop:unknown").run({"x": {"a": 1}}) == {"a": 1}


def test_coroutines_are_awaited_and_generators_are_streams():
    assert Function("shop:later").run({"x": 1}) == 2
    stream = Function("shop:count").run({"n": 10**9})
    assert next(stream) == {"color": "red", "ticket": None}
    stream.close()
    assert list(Function("shop:count_later").run({"n": 3})) == [0, 1, 2]


def test_decorators_and_nesting_are_looked_through():
    assert Function("shop:decorated").run({"x": 5}) == 5
    assert list(Function("shop:Box.inside").run({"x": 5})) == ["inside", 5]


def test_an_error_shows_the_users_line_and_the_log_the_traceback(caplog):
    with pytest.raises(RuntimeTaskError) as caught:
        Function("shop:raises")({"x": 0})
    (finding,) = caught.value.findings
    assert finding.code == "XCS603"
    assert finding.message == "shop:raises raised ZeroDivisionError: division by zero"
    assert finding.place.endswith("shop.py:47")
    assert "in helper" in caplog.text


@pytest.mark.parametrize(("name", "error"), [("late", "KeyError: 'gone'"), ("leaves", "SystemExit: 3")])
def test_errors_in_the_middle_of_a_stream_and_exits_are_errors(name, error):
    with pytest.raises(RuntimeTaskError, match="XCS603") as caught:
        list(Function(f"shop:{name}").run({"n": 1} if name == "late" else {"x": 1}))
    assert error in str(caught.value)


def test_a_result_that_is_not_json_says_so():
    with pytest.raises(RuntimeTaskError, match=r"XCS604.*shop:strange"):
        Function("shop:strange").run({"x": 1})


@pytest.mark.parametrize(
    ("address", "reason"),
    [("shop:nothing", "nothing"), ("nowhere_at_all:f", "No module named 'nowhere_at_all'"), ("shop:Box.missing", "missing")],
)
def test_what_cannot_be_imported_is_named(address, reason):
    with pytest.raises(RuntimeTaskError, match="XCS605") as caught:
        Function(address)
    assert reason in str(caught.value)


def test_a_module_that_fails_to_import_shows_its_line(tmp_path):
    (tmp_path / "broken.py").write_text("x = 1\ny = x / 0\n")
    with pytest.raises(RuntimeTaskError) as caught:
        Function("broken:f")
    assert caught.value.findings[0].place.endswith("broken.py:2")


def test_bundles_with_modules_of_the_same_name_do_not_mix(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "pipe_line.py").write_text(f"def f():\n    return {name!r}\n")
    before = list(sys.path)
    for name in ("one", "two", "one"):
        with code_on_path(tmp_path / name):
            assert Function("pipe_line:f").run({}) == name
    assert sys.path == before


def test_dataclasses_defined_here_are_json_too():
    @dataclasses.dataclass
    class Local:
        x: int

    assert Function("shop:unknown").as_json(Local(1)) == {"x": 1}
