"""The response cache: answers by key, behind `get_many` and `put_many`.

It knows where a cache lies and what one promises; each file beside this one keeps it in one kind of place.
"""

from __future__ import annotations

import atexit
import os
import threading
from pathlib import Path

from xcs_airflow.errors import RuntimeTaskError
from xcs_airflow.runtime.cache.entry import Cache, CachedAnswer, Claims, Recipe
from xcs_airflow.runtime.cache.memory import MemoryCache, NoCache

__all__ = ["Cache", "CachedAnswer", "Claims", "Recipe", "open_cache"]

_MEMORY = MemoryCache()
_OPEN: dict[tuple[str, str, int, int | None, str | None], Cache] = {}
_LOCK = threading.Lock()
_SQLITE = "sqlite:///"
_BUCKETS = ("s3://", "gs://", "file://")
_REDIS = ("redis://", "rediss://", "unix://")


def open_cache(address: str, tenant: str = "", *, max_bytes: int | None = None, key_env: str | None = None) -> Cache:
    """The cache at an address: `sqlite:///path`, `s3://`, `gs://`, `file://`, `redis://`, `rediss://`, `unix://`, `memory` or `off`.

    Opening is cheap and asks nothing; a process opens each address once.

    Args:
        address: Where it is.
        tenant: Whose answers; those of others are neither seen nor touched.
        max_bytes: How large it may become, where that is not somebody else's business; None means no limit.
        key_env: Name of the environment variable with the keys that texts are encrypted with; None encrypts nothing.

    Raises:
        RuntimeTaskError: The address or the key cannot be used (XCS608, XCS611, XCS614, XCS617).
    """
    if address == "off":
        return NoCache()
    if address == "memory":
        return _MEMORY
    if address.startswith(_SQLITE) and not address.startswith("/", len(_SQLITE)):
        address = f"{_SQLITE}{os.path.abspath(address.removeprefix(_SQLITE))}"  # noqa: PTH100  # wherever it works later; fast
    place = (address, tenant, os.getpid(), max_bytes, key_env)  # neither a connection nor a client survives a fork
    known = _OPEN.get(place)  # whoever asks one question after the other comes here before each
    if known is not None:
        return known
    with _LOCK:
        if place not in _OPEN:
            _OPEN[place] = _opened(address, tenant, max_bytes, key_env)
        return _OPEN[place]


def _opened(address: str, tenant: str, max_bytes: int | None, key_env: str | None) -> Cache:
    if key_env is not None:
        from xcs_airflow.runtime.cache.redis_place import without_password  # noqa: PLC0415
        from xcs_airflow.runtime.cache.sealed import SealedCache  # noqa: PLC0415
        from xcs_airflow.runtime.cache.sealing import Keyring  # noqa: PLC0415  # needs an extra

        keyring = Keyring.from_variable(key_env, os.environ.get(key_env))
        return SealedCache(_plain(address, tenant, max_bytes, is_sealed=True), keyring, without_password(address))
    return _plain(address, tenant, max_bytes, is_sealed=False)


def _plain(address: str, tenant: str, max_bytes: int | None, *, is_sealed: bool) -> Cache:
    if address.startswith(_SQLITE):
        from xcs_airflow.runtime.cache.sqlite import SqliteCache  # noqa: PLC0415  # loads SQLite

        cache = SqliteCache(Path(address.removeprefix(_SQLITE)), tenant, max_bytes=max_bytes, is_sealed=is_sealed)
        atexit.register(cache.close)
        return cache
    if max_bytes is not None:
        reason = "only a SQLite cache keeps to a size by itself; a bucket has rules for old objects, and Redis has maxmemory"
        raise RuntimeTaskError.because("XCS611", name="XCS_CACHE_MAX_BYTES", reason=reason)
    if address.startswith(_BUCKETS):
        from xcs_airflow.runtime.cache.object import ObjectCache  # noqa: PLC0415
        from xcs_airflow.runtime.store import open_store  # noqa: PLC0415

        return ObjectCache(open_store(address), tenant, place=address, is_sealed=is_sealed)
    if address.startswith(_REDIS):
        from xcs_airflow.runtime.cache.redis import RedisCache  # noqa: PLC0415

        return RedisCache(address, tenant, is_sealed=is_sealed)
    raise RuntimeTaskError.because("XCS614", reason=f"{address!r} is not the address of a cache")
