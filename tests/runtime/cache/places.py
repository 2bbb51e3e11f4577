"""Places of every kind where a cache can lie, empty, and with a way to damage what is in them."""

import sqlite3
import time
from contextlib import closing

from xcs_airflow.runtime.cache import CachedAnswer
from xcs_airflow.runtime.cache.memory import MemoryCache
from xcs_airflow.runtime.cache.sqlite import SqliteCache


def answer(text="billing", age_s=0, **fields):
    return CachedAnswer(
        **{"text": text, "input_tokens": 10, "output_tokens": 2, "model": "gpt", **fields, "created_at": int(time.time()) - age_s}
    )


def key(number, recipe="c"):
    """A key as the runtime makes them: forty digits of a prompt, then twenty-four of a recipe."""
    return f"{number:040x}{recipe * 24}"


class Place:
    """Somewhere; what was opened is closed at the end."""

    shares = True

    def __init__(self):
        self._opened = []

    def open(self, tenant="", **options):
        cache = self.opened(tenant, **options)
        self._opened.append(cache)
        return cache

    def close(self):
        for cache in self._opened:
            cache.close()


class MemoryPlace(Place):
    shares = False

    def __init__(self, folder):
        super().__init__()

    def opened(self, tenant):
        return MemoryCache()


class SqlitePlace(Place):
    def __init__(self, folder):
        super().__init__()
        self.path = folder / "deep" / "cache.sqlite"

    def opened(self, tenant, **options):
        return SqliteCache(self.path, tenant, **options)

    def damage(self, key):
        with closing(sqlite3.connect(self.path)) as connection, connection:
            assert connection.execute("UPDATE answers SET text = CAST('other' AS BLOB) WHERE key = ?", (key,)).rowcount == 1


PLACES = {"memory": MemoryPlace, "sqlite": SqlitePlace}
