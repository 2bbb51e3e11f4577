"""Who asks for what, in a Redis server: a name per key that the server forgets unless its owner renews it.

It knows leases and their owner; the server's clock alone decides when one has run out.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterable, Sequence

from xcs_airflow.runtime.cache.entry import releasing
from xcs_airflow.runtime.cache.heartbeat import Heartbeat
from xcs_airflow.runtime.cache.redis_place import RedisPlace, in_chunks

LEASE_S = 60.0
_RENEWALS_PER_LEASE = 4

_RENEW = """
for _, name in ipairs(KEYS) do
    if redis.call('get', name) == ARGV[1] then redis.call('pexpire', name, ARGV[2]) end
end
"""
_RELEASE = """
for _, name in ipairs(KEYS) do
    if redis.call('get', name) == ARGV[1] then redis.call('del', name) end
end
"""


class RedisClaims:
    """The claims of one session.

    Args:
        place: Where they are.
        lease_s: For how many seconds a claim holds that is not renewed.
    """

    def __init__(self, place: RedisPlace, lease_s: float = LEASE_S) -> None:
        self._place = place
        self._client = place.client
        self._lease_ms = int(lease_s * 1000)
        self._lock = threading.Lock()
        self._heartbeat: Heartbeat | None = None
        self._owner = ""
        self._process = 0
        self._held: set[str] = set()

    def take(self, keys: Iterable[str]) -> set[str]:
        """Claim what nobody who lives has claimed; gives what is the caller's now."""
        wanted = list(dict.fromkeys(keys))
        if not wanted:
            return set()
        owner = self._own()
        taken: set[str] = set()

        def take(chunk: Sequence[str]) -> None:
            pipeline = self._client.pipeline(transaction=False)
            for key in chunk:
                pipeline.set(self._name(key), owner, nx=True, px=self._lease_ms)
            refused = [key for key, is_set in zip(chunk, pipeline.execute(), strict=True) if not is_set]
            # Claims of one's own, and those whose first answer was lost on its way.
            owners = self._client.mget([self._name(key) for key in refused]) if refused else []
            others = {key for key, other in zip(refused, owners, strict=True) if other != owner.encode()}
            taken.update(key for key in chunk if key not in others)

        with self._place.reporting():
            in_chunks(take, wanted)
        with self._lock:
            self._held |= taken
        return taken

    def release(self, keys: Iterable[str]) -> None:
        """Let others ask."""
        with self._lock:
            released = self._held.intersection(keys)
            self._held -= released
        if self._process == os.getpid():
            with releasing():
                self._obey(_RELEASE, released)

    def close(self) -> None:
        """Release all that is left."""
        heartbeat, self._heartbeat = self._heartbeat, None
        if heartbeat is not None and self._process == os.getpid():
            heartbeat.stop()
        self.release(set(self._held))

    def _own(self) -> str:
        """The name of this owner; a child that was forked has one of its own."""
        with self._lock:
            if self._heartbeat is None or self._process != os.getpid():
                self._owner, self._process, self._held = uuid.uuid4().hex, os.getpid(), set()
                self._heartbeat = Heartbeat(self._renew, self._lease_ms / 1000 / _RENEWALS_PER_LEASE)
            return self._owner

    def _renew(self) -> None:
        with self._lock:
            held = set(self._held)
        self._obey(_RENEW, held, self._lease_ms)

    def _obey(self, script: str, keys: Iterable[str], *arguments: int) -> None:
        """Do something with the claims that are still this owner's. A script is one step: nobody comes between look and change."""
        names = [self._name(key) for key in keys]
        with self._place.reporting():
            in_chunks(lambda chunk: self._client.eval(script, len(chunk), *chunk, self._owner, *arguments), names)

    def _name(self, key: str) -> str:
        return f"{self._place.prefix}claim:{key}"
