"""Snippets in the docs run."""

import ast
import doctest
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [path for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))] if "```python" in path.read_text(encoding="utf-8")]


def snippets(path):
    return re.findall(r"^```python\n(.*?)^```$", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_examples_with_prompts_print_what_they_say(path):
    examples = "\n".join(snippet for snippet in snippets(path) if snippet.startswith(">>>"))
    test = doctest.DocTestParser().get_doctest(examples, {}, path.name, str(path), 0)
    results = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS).run(test)
    assert results.failed == 0


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_other_snippet_is_valid_python(path):
    for snippet in snippets(path):
        if not snippet.startswith(">>>"):
            ast.parse(snippet)
