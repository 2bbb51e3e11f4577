"""LangChain's SQLite cache, looked up as its models do."""

from __future__ import annotations

import tempfile
import warnings

warnings.simplefilter("ignore")

from answers import answer, prompt, run
from langchain_community.cache import SQLiteCache
from langchain_core.outputs import Generation

folder = tempfile.TemporaryDirectory()
cache = SQLiteCache(f"{folder.name}/cache.sqlite")


def fill(count: int) -> None:
    """One entry after the other, for it has no other way in."""
    for index in range(count):
        cache.update(prompt(index), "model", [Generation(text=answer(index))])


def one(index: int) -> str | None:
    """One look-up."""
    found = cache.lookup(prompt(index), "model")
    return None if found is None else found[0].text


run(fill, one=one, call=lambda index: one(index) or "")
