"""Answers in the memory of this process, or nowhere.

It knows a dict; it keeps nothing beyond the process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping

from xcs_airflow.runtime.cache.entry import CachedAnswer


class MemoryCache:
    """A dict."""

    def __init__(self) -> None:
        self._answers: dict[str, CachedAnswer] = {}
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


class NoCache:
    """Remembers nothing."""

    def get_many(self, keys: Iterable[str], *, ttl_s: int | None = None) -> dict[str, CachedAnswer]:  # noqa: ARG002
        """Nothing."""
        return {}

    def put_many(self, answers: Mapping[str, CachedAnswer]) -> None:
        """Forget."""
