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
_OPEN: dict[tuple[str, str, int], Cache] = {}
_LOCK = threading.Lock()
_SQLITE = "sqlite:///"


def open_cache(address: str, tenant: str = "") -> Cache:
    """The cache at an address: `sqlite:///path`, `s3://`, `gs://`, `file://`, `memory` or `off`.

    Opening is cheap and asks nothing; a process opens each address once.

    Args:
        address: Where it is.
        tenant: Whose answers; those of others are neither seen nor touched.

    Raises:
        RuntimeTaskError: The address cannot be used (XCS614, XCS608, XCS617).
    """
    if address == "off":
        return NoCache()
    if address == "memory":
        return _MEMORY
    if address.startswith(_SQLITE):
        address = f"{_SQLITE}{os.path.abspath(address.removeprefix(_SQLITE))}"  # noqa: PTH100  # wherever it works later; fast
    with _LOCK:
        place = (address, tenant, os.getpid())  # neither a connection nor a client survives a fork
        if place not in _OPEN:
            _OPEN[place] = _opened(address, tenant)
        return _OPEN[place]


def _opened(address: str, tenant: str) -> Cache:
    if address.startswith(_SQLITE):
        from xcs_airflow.runtime.cache.sqlite import SqliteCache  # noqa: PLC0415  # loads SQLite

        cache = SqliteCache(Path(address.removeprefix(_SQLITE)), tenant)
        atexit.register(cache.close)
        return cache
    if address.startswith(("s3://", "gs://", "file://")):
        from xcs_airflow.runtime.cache.object import ObjectCache  # noqa: PLC0415
        from xcs_airflow.runtime.store import open_store  # noqa: PLC0415

        return ObjectCache(open_store(address), tenant, place=address)
    raise RuntimeTaskError.because("XCS614", reason=f"{address!r} is not the address of a cache")
