"""Answers in the memory of this process, or nowhere.

It knows a dict; it keeps nothing beyond the process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping

from xcs_airflow.runtime.cache.entry import CachedAnswer, Claims, Recipe


class NoClaims:
    """Claims where no other process can see them: everything is free. Inside a process, `flights` sees to it."""

    def take(self, keys: Iterable[str]) -> set[str]:
        """All of them."""
        return set(keys)

    def release(self, keys: Iterable[str]) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""


class MemoryCache:
    """A dict."""

    is_remote = False

    def __init__(self) -> None:
        self._answers: dict[str, CachedAnswer] = {}
        self._recipes: dict[tuple[str, str], Recipe] = {}
        self._lock = threading.Lock()

    def get_many(self, keys: Iterable[str], *, ttl_s: int | None = None) -> dict[str, CachedAnswer]:
        """The answers that are there and not older than asked."""
        now = time.time()
        with self._lock:
            found = {key: answer for key in keys if (answer := self._answers.get(key)) is not None}
        return {key: answer for key, answer in found.items() if answer.is_good(ttl_s, now)}

    def put_many(self, answers: Mapping[str, CachedAnswer]) -> None:
        """Remember answers."""
        with self._lock:
            self._answers.update(answers)

    def claims(self) -> Claims:
        """Of no use here."""
        return NoClaims()

    def note_recipe(self, recipe: Recipe) -> None:
        """Remember how something was asked."""
        self._recipes.setdefault(recipe.name, recipe)

    def recipes(self) -> list[Recipe]:
        """Every recipe that was noted."""
        return list(self._recipes.values())

    def keys(self, prefix: str = "") -> Iterator[str]:
        """The keys that begin so, in order."""
        with self._lock:
            return iter(sorted(key for key in self._answers if key.startswith(prefix)))

    def entries(self) -> Iterator[tuple[str, CachedAnswer]]:
        """All answers, in the order of their keys."""
        with self._lock:
            return iter(sorted(self._answers.items()))

    def remove(self, keys: Iterable[str]) -> int:
        """Forget answers; gives how many there were."""
        with self._lock:
            return sum(self._answers.pop(key, None) is not None for key in keys)

    def close(self) -> None:
        """Nothing to let go of."""


class NoCache:
    """Remembers nothing."""

    is_remote = False

    def get_many(self, keys: Iterable[str], *, ttl_s: int | None = None) -> dict[str, CachedAnswer]:  # noqa: ARG002
        """Nothing."""
        return {}

    def put_many(self, answers: Mapping[str, CachedAnswer]) -> None:
        """Forget."""

    def claims(self) -> Claims:
        """Of no use here."""
        return NoClaims()

    def note_recipe(self, recipe: Recipe) -> None:
        """Forget."""

    def recipes(self) -> list[Recipe]:
        """None."""
        return []

    def keys(self, prefix: str = "") -> Iterator[str]:  # noqa: ARG002
        """None."""
        return iter(())

    def entries(self) -> Iterator[tuple[str, CachedAnswer]]:
        """None."""
        return iter(())

    def remove(self, keys: Iterable[str]) -> int:  # noqa: ARG002
        """There is nothing to forget."""
        return 0

    def close(self) -> None:
        """Nothing to let go of."""
