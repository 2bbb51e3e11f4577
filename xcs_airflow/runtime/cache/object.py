"""Answers as single objects in a store, for machines that share nothing else.

It knows names and concurrency; the store knows the rest.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from xcs_airflow.runtime.cache.entry import CachedAnswer, Claims, Recipe
from xcs_airflow.runtime.cache.memory import NoClaims
from xcs_airflow.runtime.store import Store

_AT_A_TIME = 32


class ObjectCache:
    """One object per answer, named by its key.

    Args:
        store: Where the objects lie.
    """

    is_remote = True

    def __init__(self, store: Store) -> None:
        self._store = store

    def get_many(self, keys: Iterable[str], *, ttl_s: int | None = None) -> dict[str, CachedAnswer]:
        """The answers that are there, not older than asked, and undamaged."""
        now = time.time()
        with ThreadPoolExecutor(_AT_A_TIME) as threads:
            found = [answer for answer in threads.map(self._get, keys) if answer is not None]
        return {key: answer for key, answer in found if answer.is_good(ttl_s, now)}

    def claims(self) -> Claims:
        """Claims of whoever calls this."""
        return NoClaims()

    def note_recipe(self, recipe: Recipe) -> None:
        """Remember how something was asked."""

    def recipes(self) -> list[Recipe]:
        """Every recipe that was noted."""
        return []

    def put_many(self, answers: Mapping[str, CachedAnswer]) -> None:
        """Remember answers, one object each."""
        with ThreadPoolExecutor(_AT_A_TIME) as threads:
            list(threads.map(lambda key: self._store.put(_name(key), answers[key].dump(key).encode()), answers))

    def keys(self, prefix: str = "") -> Iterator[str]:
        """The keys that begin so, in order, also of damaged entries."""
        for name in self._store.list(""):
            key = name.rpartition("/")[2].removesuffix(".json")
            if key.startswith(prefix):
                yield key

    def entries(self) -> Iterator[tuple[str, CachedAnswer]]:
        """All undamaged answers, in the order of their keys."""
        for key in self.keys():
            yield from self.get_many([key]).items()

    def remove(self, keys: Iterable[str]) -> int:
        """Forget answers; gives how many there were."""
        count = 0
        for key in keys:
            count += 1
            self._store.delete(_name(key))
        return count

    def close(self) -> None:
        """Nothing to let go of."""

    def _get(self, key: str) -> tuple[str, CachedAnswer] | None:
        data = self._store.get(_name(key))
        answer = None if data is None else CachedAnswer.load(key, data.decode("utf-8", "replace"))
        return None if answer is None else (key, answer)


def _name(key: str) -> str:
    return f"{key[:2]}/{key}.json"
