"""xcs-airflow's default cache: SQLite, with checksums, tenants, a size cap and claims; and a hit through a call of `llm`."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence

from answers import answer, key, prompt, run

from xcs_airflow import llm
from xcs_airflow.runtime.cache import CachedAnswer, open_cache
from xcs_airflow.runtime.models import ModelAnswer, use_provider

folder = tempfile.TemporaryDirectory()
os.environ["XCS_CACHE"] = address = f"sqlite:///{folder.name}/cache.sqlite"
cache = open_cache(address)
ask = llm("openai/gpt-4.1-mini", "{prompt}", temperature=0, max_tokens=200)


class Scripted:
    """Stands in for the model while the cache is filled through the public call."""

    def complete(self, request: object) -> ModelAnswer:
        """The answer that belongs to the prompt."""
        text = request.messages[0]["content"]  # type: ignore[attr-defined]
        return ModelAnswer(answer(int(text.split("ticket ")[1].split(":")[0])), 30, 150)


def fill(count: int) -> None:
    """Large batches; and again through the call that users make."""
    for start in range(0, count, 10_000):
        indices = range(start, min(start + 10_000, count))
        cache.put_many({key(index): CachedAnswer(answer(index), 1, 2, "m", int(time.time())) for index in indices})
    ask.map(prompt=[prompt(index) for index in range(count)])


def one(index: int) -> str | None:
    """One call of the cache a key."""
    found = cache.get_many([key(index)])
    return next((entry.text for entry in found.values()), None)


def many(indices: Sequence[int]) -> list[str | None]:
    """One call of the cache for all keys."""
    keys = [key(index) for index in indices]
    found = cache.get_many(keys)
    return [found[name].text for name in keys]


with use_provider(Scripted()):
    run(fill, one=one, many=many, call=lambda index: ask(prompt=prompt(index)))
