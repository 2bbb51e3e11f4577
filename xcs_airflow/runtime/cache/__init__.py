"""The response cache: answers by key, behind `get_many` and `put_many`.

It knows where a cache lies and what one promises; each file beside this one keeps it in one kind of place.
"""

from __future__ import annotations

import atexit
import os
import threading
from pathlib import Path

from xcs_airflow.errors import RuntimeTaskError
from xcs_airflow.runtime.cache.entry import Cache, CachedAnswer
from xcs_airflow.runtime.cache.memory import MemoryCache, NoCache

__all__ = ["Cache", "CachedAnswer", "open_cache"]

_MEMORY = MemoryCache()
_OPEN: dict[tuple[str, int], Cache] = {}
_LOCK = threading.Lock()


def open_cache(address: str) -> Cache:
    """The cache at an address: `sqlite:///path`, `s3://`, `gs://`, `file://`, `memory` or `off`.

    Opening is cheap and asks nothing; a process opens each address once.

    Raises:
        RuntimeTaskError: The address cannot be used (XCS614, XCS608, XCS617).
    """
    if address == "off":
        return NoCache()
    if address == "memory":
        return _MEMORY
    with _LOCK:
        place = (address, os.getpid())  # neither a connection nor a client survives a fork
        if place not in _OPEN:
            _OPEN[place] = _opened(address)
        return _OPEN[place]


def _opened(address: str) -> Cache:
    if address.startswith("sqlite:///"):
        from xcs_airflow.runtime.cache.sqlite import SqliteCache  # noqa: PLC0415  # loads SQLite

        cache = SqliteCache(Path(address.removeprefix("sqlite:///")))
        atexit.register(cache.close)
        return cache
    if address.startswith(("s3://", "gs://", "file://")):
        from xcs_airflow.runtime.cache.object import ObjectCache  # noqa: PLC0415
        from xcs_airflow.runtime.store import open_store  # noqa: PLC0415

        return ObjectCache(open_store(address))
    raise RuntimeTaskError.because("XCS614", reason=f"{address!r} is not the address of a cache")
