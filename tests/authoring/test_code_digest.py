"""A digest changes with what a function says and uses, and with nothing else."""

from __future__ import annotations

import textwrap
from collections import Counter
from pathlib import Path

import pytest

from xcs_airflow import op
from xcs_airflow.authoring import code_digest, load_pipeline
from xcs_airflow.authoring.code_digest import CodeDigests

FLOW = '''
from __future__ import annotations

import json
import logging
from decimal import Decimal
from typing import Literal

import tools
import package.words
from package import shout
from shapes import Ticket
from tools import clean as tidy
from xcs_airflow import llm, op, pipeline

LIMIT = 3
NAMES = {}
NAMES["a"] = "first"
ITEMS = 7


def first(lines):
    """The first lines."""
    return lines[:LIMIT]


def fresh(depth):
    return stale(depth - 1) if depth else LIMIT


def stale(depth):
    return fresh(depth - 1) if depth else 0


def nobody():
    return tools.other()


@op(items=ITEMS)
def load(path: str = "x") -> list[str]:
    """Read them."""
    # As they come.
    return first([path, json.dumps(path)])


@op
def count(lines: list[str]) -> Decimal:
    import late

    load = late.size(lines)
    return Decimal(load)


@op
def name(key: str) -> Literal["first", "fresh"]:
    return NAMES[key]


@op
def polish(text: str) -> str:
    return shout(tidy(text)) + package.words.END


@op
def score(ticket: "Ticket") -> int:
    return ticket.score()


@op
def turn(depth: int) -> int:
    return fresh(depth)


@op
def relate(text: str) -> str:
    return ask(text) + classify(text)


classify = llm("openai/gpt-4.1-mini", "Which team? {text}")


@llm("openai/gpt-4.1-mini", max_tokens=8)
def ask(text: str) -> str:
    """Ask about a text."""
    return f"About {first(text)!r:>{LIMIT}}"


@pipeline
def flow(path: str = "x"):
    lines = load(path)
    return [
        count(lines), name(path), polish(path), score({"text": path}), turn(3), relate(path), ask(path), classify(text=path),
    ]


if __name__ == "__main__":
    print(load())
'''

PROJECT = {
    "flow.py": FLOW,
    "tools.py": """
        import re
        import random as dice

        WORD = re.compile("[a-z]+")

        def clean(text):
            return WORD.sub("", text)

        def other():
            return dice.random()
        """,
    "late.py": """
        def size(lines):
            return len(lines)

        def shape(lines):
            return 2
        """,
    "shapes.py": """
        class Base:
            weight = 2

        class Ticket(Base):
            text: str

            def score(self):
                return len(self.text) * self.weight

        class Stranger:
            pass
        """,
    "package/__init__.py": """
        from . import words
        from .shout import shout
        """,
    "package/words.py": """
        END = "!"
        START = "?"
        """,
    "package/shout.py": """
        from .words import END as SIGN

        def shout(text):
            return text + SIGN
        """,
}

HEAD = "from xcs_airflow import llm, op, pipeline\n"
TAIL = "\n@pipeline\ndef flow():\n    return work()\n"


def project(flow, **modules):
    return {**{f"{name}.py": text for name, text in modules.items()}, "flow.py": HEAD + flow + TAIL}


def cases():
    """Fixtures: a title, then the files of a project."""
    text = (Path(__file__).parent / "fixtures" / "code_digests.txt").read_text(encoding="utf-8")
    for case in text.split("=== ")[1:]:
        title, *files = case.split("\n--- ")
        texts = dict(file.split("\n", 1) for file in files)
        yield pytest.param(title, {**texts, "flow.py": HEAD + texts["flow.py"] + TAIL}, id=title)


ALL = frozenset({"load", "count", "name", "polish", "score", "turn", "relate", "ask"})


@pytest.fixture
def codes(write):
    """The digest of every step of a project that is written into a folder of its own."""
    folders = iter(range(100))

    def read(files=PROJECT, file="flow.py"):
        folder = f"project{next(folders)}"
        for path, text in files.items():
            write(f"{folder}/{path}", textwrap.dedent(text))
        flow = write(f"{folder}/{file}", textwrap.dedent(files[file]))
        return {operation.id: operation.code for operation in load_pipeline(str(flow)).graph()}

    return read


def changed(file, old, new, files=PROJECT):
    text = textwrap.dedent(files[file])
    assert old in text
    return {**files, file: text.replace(old, new)}


def difference(before, after):
    return {name for name in before if before[name] != after[name]}


def test_every_function_has_a_digest_and_a_template_has_none(codes):
    found = codes()
    assert found.pop("classify") is None
    assert found.keys() == ALL
    assert all(len(code) == 16 and int(code, 16) >= 0 for code in found.values())
    assert len(set(found.values())) == len(found)


def test_the_digest_depends_on_neither_the_folder_nor_the_time(codes):
    assert codes() == codes()


@pytest.mark.parametrize(
    ("file", "old", "new", "steps"),
    [
        pytest.param("flow.py", "json.dumps(path)", "json.dumps([path])", {"load"}, id="body"),
        pytest.param("flow.py", "path: str", "path: object", {"load"}, id="annotation"),
        pytest.param("flow.py", 'path: str = "x") -> list', 'path: str = "y") -> list', {"load"}, id="default"),
        pytest.param("flow.py", "import json", "import pickle as json", {"load"}, id="imported from elsewhere"),
        pytest.param("flow.py", "return lines[:LIMIT]", "return lines[1:LIMIT]", {"load", "ask", "relate"}, id="helper"),
        pytest.param("flow.py", "LIMIT = 3", "LIMIT = 4", {"load", "ask", "relate", "turn"}, id="constant"),
        pytest.param("flow.py", "LIMIT = 3", "LIMIT = 3\nLIMIT += 1", {"load", "ask", "relate", "turn"}, id="bound again"),
        pytest.param("flow.py", 'NAMES["a"] = "first"', 'NAMES["a"] = "last"', {"name"}, id="item of a constant"),
        pytest.param("flow.py", 'NAMES["a"]', 'NAMES.update(b="c")\nNAMES["a"]', {"name"}, id="changed by a method"),
        pytest.param("flow.py", "NAMES = {}", "NAMES = {}\nfor x in 'ab':\n    NAMES[x] = x", {"name"}, id="changed in a loop"),
        pytest.param("flow.py", "else 0", "else 1", {"turn"}, id="cycle"),
        pytest.param("flow.py", "Which team?", "Which department?", {"relate"}, id="template asked inside a function"),
        pytest.param("flow.py", "max_tokens=8", "max_tokens=9", {"relate"}, id="settings of a question asked inside a function"),
        pytest.param("flow.py", 'f"About', 'f"On', {"ask", "relate"}, id="prompt"),
        pytest.param("flow.py", "!r:>", "!r:<", {"ask", "relate"}, id="format"),
        pytest.param("tools.py", '"[a-z]+"', '"[A-Z]+"', {"polish"}, id="constant of another module"),
        pytest.param("tools.py", 'WORD.sub("", text)', 'WORD.sub(" ", text)', {"polish"}, id="function of another module"),
        pytest.param("late.py", "len(lines)", "len(lines) + 1", {"count"}, id="module imported by a function"),
        pytest.param("package/words.py", '"!"', '"."', {"polish"}, id="by way of a package"),
        pytest.param("package/shout.py", "text + SIGN", "SIGN + text", {"polish"}, id="of the name of its module"),
        pytest.param("shapes.py", "len(self.text) *", "len(self.text) +", {"score"}, id="method"),
        pytest.param("shapes.py", "weight = 2", "weight = 3", {"score"}, id="base class"),
        pytest.param("shapes.py", "text: str", "text: bytes", {"score"}, id="field"),
    ],
)
def test_what_a_function_uses_changes_its_digest_and_no_other(codes, file, old, new, steps):
    assert difference(codes(), codes(changed(file, old, new))) == steps


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        pytest.param("flow.py", "# As they come.", "# In their order.", id="comment"),
        pytest.param("flow.py", "Read them.", "Read all of them.", id="docstring"),
        pytest.param("flow.py", "The first lines.", "Some lines.", id="docstring of a helper"),
        pytest.param("flow.py", '    """The first lines."""\n', "", id="no docstring"),
        pytest.param("flow.py", "[path, json.dumps(path)]", "[\n        (path),\n        json.dumps(path),\n    ]", id="lines"),
        pytest.param("flow.py", '"x") ->', "'x') ->", id="quotes"),
        pytest.param("flow.py", "3\nNAMES", "(3)\n\n\nNAMES", id="parentheses and empty lines"),
        pytest.param("flow.py", "return tools.other()", "return 5", id="function that nobody uses"),
        pytest.param("flow.py", "@op(items=ITEMS)", "@op(items=9, memory_mib=2048)", id="settings of a step"),
        pytest.param("flow.py", "ITEMS = 7", "ITEMS = 8", id="what settings of a step are made of"),
        pytest.param("flow.py", "print(load())", "print(load('y'))", id="what only a script does"),
        pytest.param("flow.py", "lines = load(path)", "lines = load(path)\n    nobody()", id="the pipeline itself"),
        pytest.param("flow.py", "import logging", "import logging\nimport late", id="import that nobody uses"),
        pytest.param("tools.py", "dice.random()", "4", id="other function of a module"),
        pytest.param("tools.py", "import re\nimport random as dice", "import random as dice\nimport re", id="order of imports"),
        pytest.param("late.py", "return 2", "return 3", id="other function of a module imported by a function"),
        pytest.param("shapes.py", "class Stranger:", "class Stranger(Base):", id="other class"),
        pytest.param("package/words.py", '"?"', '"??"', id="other constant of a module"),
    ],
)
def test_what_a_function_does_not_use_changes_nothing(codes, file, old, new):
    assert codes(changed(file, old, new)) == codes()


def test_moving_functions_about_in_a_file_changes_nothing(codes):
    start, end = FLOW.index("def nobody"), FLOW.index("@op(items=ITEMS)")
    moved = FLOW[:start] + FLOW[end:] + "\n\n" + FLOW[start:end]
    assert codes({**PROJECT, "flow.py": moved}) == codes()


@pytest.mark.parametrize(("title", "files"), list(cases()))
def test_ways_from_a_function_to_a_change(codes, title, files):
    """The fixtures: whether `work` changes when CHANGED does."""
    one, two = (codes({path: text.replace("CHANGED", value) for path, text in files.items()}) for value in ("1", "2"))
    assert difference(one, two) == ({"work"} if title.startswith("changes: ") else set())


EVERY_SYNTAX = '''
import asyncio, os.path
from functools import *

async def late(*args: int, key: "str" = u"k", **rest) -> None:
    """Waits."""
    async with asyncio.timeout(1.5e3) as t, t: pass
    async for x in rest: await x
    return [y async for y in args if y]

class K(dict, metaclass=type):
    a: int = 0xFFFF_FFFF_FFFF_FFFF_FFFF
    b, *c = 1j, b"\\x00", ..., "\\ud800 \\u2603 \\u1fae0"
    def m(self, /, z=-1, *, w: "K" = None):
        nonlocal_free = lambda q, r=2: q @ r
        try:
            assert self, "no"
        except* ValueError as e:
            raise e from None
        else:
            del self.a[1:2, ::3]
        finally:
            while True:
                if not z: break
                else: continue
        match z:
            case {"k": 1, **others} | [1, *_] as whole if whole: pass
            case K(a=1) | None | -1 | "s": yield from others
            case _: pass
        return f"{z!r:>{w}}" f"a{{b" "c" f"{z=}" f"{w:}", {**self, 1: 2}, {1, 2}, z < w <= 3 != 4, (n := 5), z if w else not z

@op
def work(x, y={"a": os.path.sep}):
    global late
    late = K().m(reduce(x, [y, *x]))
    x.a, x[0] = y["b"].c, ~x << 2 ** -y
    x += (yield)
'''


def test_the_digest_is_the_same_in_every_version_of_python(write):
    """A digest that depended on the version would compute everything again after an upgrade; this one was made by 3.11."""
    write("many/flow.py", EVERY_SYNTAX)
    modules = code_digest.OwnModules(write("many/x").parent, None)
    assert code_digest.CodeMap(modules).digest(("flow",), "work") == "33830f224b6a82e1"


def test_what_is_not_written_in_a_file_has_no_digest():
    namespace = {"__name__": "nowhere"}
    exec("def made(): return 1", namespace)
    digests = CodeDigests()
    assert [digests.of(func) for func in (len, namespace["made"], textwrap.dedent)] == [None, None, None]


def test_a_name_that_no_statement_binds_takes_the_whole_module(codes):
    flow = "def make():\n    def work(): return CHANGED\n    work.__qualname__ = 'work'\n    return work\nglobals()['work'] = op(make())"
    one, two = (codes({path: text.replace("CHANGED", value) for path, text in project(flow).items()}) for value in ("1", "2"))
    assert difference(one, two) == {"work"}


def test_a_module_that_this_python_cannot_read_counts_byte_by_byte(codes):
    flow = "@op\ndef work():\n    import newer\n    return newer.f()"
    one, two = (codes(project(flow, newer=f"def f(: return {value}")) for value in (1, 2))
    assert difference(one, two) == {"work"}


def test_an_installed_package_counts_by_name(codes):
    flow = "import m\n@op\ndef work(): return m.f()"
    installed = {f"site-packages/{path}": text for path, text in project(flow, m="def f(): return 1").items()}
    one = codes(installed, "site-packages/flow.py")
    two = codes({**installed, "site-packages/m.py": "def f(): return 2"}, "site-packages/flow.py")
    assert one == two


def test_ten_thousand_operations_read_a_file_once(write, monkeypatch):
    read = Counter()

    class Counting(code_digest.TopLevel):
        def __init__(self, path, source, *, is_package):
            read[path] += 1
            super().__init__(path, source, is_package=is_package)

    monkeypatch.setattr(code_digest, "TopLevel", Counting)
    calls = "\n    for _ in range(9999):\n        x = step(x)"
    text = "from xcs_airflow import op, pipeline\nfrom other import y\n@op\ndef step(x: int) -> int:\n    return y(x)\n"
    write("other.py", "def y(x):\n    return x")
    flow = write("flow.py", f"{text}@pipeline\ndef flow(x: int):\n    x = step(x){calls}\n    return x\n")
    graph = load_pipeline(str(flow)).graph()
    assert len(graph) == 10_000
    assert len({operation.code for operation in graph}) == 1
    assert read == {("flow",): 1, ("other",): 1}


def test_a_function_of_the_tests_has_a_digest():
    assert CodeDigests().of(on_its_own.function) == CodeDigests().of(on_its_own) is not None


@op
def on_its_own() -> int:
    return 1
