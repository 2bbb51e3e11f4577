"""Every promise about reliability names the tests that try it, and they exist."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def names_in(path):
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_every_test_that_is_named_exists():
    named = NAMED.findall(PAGE)
    assert len(named) > 20
    assert [f"{path}::{name}" for path, name in named if not (ROOT / path).exists() or name not in names_in(path)] == []


def test_every_promise_names_a_test():
    promises = re.split(r"^- ", PAGE.partition("\n## Where the promises end\n")[0], flags=re.MULTILINE)[1:]
    assert len(promises) > 15
    assert [promise for promise in promises if not NAMED.search(promise)] == []


def test_the_command_of_the_page_finds_the_crash_matrix():
    assert "python -m pytest tests/real -k crash" in PAGE
    crashes = {name for name in names_in("tests/real/test_crash_matrix.py") if "crash" in name}
    assert crashes >= {"test_a_crash_at_a_point_loses_nothing", "test_a_crash_at_any_moment_loses_nothing"}
