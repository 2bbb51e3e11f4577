"""Answers in a Redis server, for machines that share one.

It knows names and commands; `redis_place.py` knows the server, `redis_claims.py` who asks for what.

    xcs:TENANT:answer:4f0c…     an answer, named by its key
    xcs:TENANT:recipes          how operations ask, by the recipe's digest and the operation
    xcs:TENANT:claim:4f0c…      who asks for a key
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

from xcs_airflow.runtime.cache.entry import CachedAnswer, Claims, Gate, Recipe
from xcs_airflow.runtime.cache.redis_claims import LEASE_S, RedisClaims
from xcs_airflow.runtime.cache.redis_place import RedisPlace, in_chunks, without_password

_SCANNED_AT_A_TIME = 1000


class RedisCache:
    """The answers of one tenant in a server.

    Entries do not expire by themselves, since whoever reads says how old they may be. How much memory they take and which go first
    is the server's own business (`maxmemory`, and `maxmemory-policy allkeys-lru`), and so is what survives its end.

    Args:
        address: `redis://`, `rediss://` or `unix://`.
        tenant: Whose answers.
        is_sealed: Whether texts are encrypted by whoever uses this.
        lease_s: For how many seconds a claim holds that is not renewed.

    Raises:
        RuntimeTaskError: The client is not installed (XCS617), or the address cannot be used (XCS614).
    """

    is_remote = True

    def __init__(self, address: str, tenant: str = "", *, is_sealed: bool = False, lease_s: float = LEASE_S) -> None:
        self._place = RedisPlace(address, tenant)
        self._client = self._place.client
        self._answers = f"{self._place.prefix}answer:"
        self._recipes = f"{self._place.prefix}recipes"
        self._gate = Gate(without_password(address), is_sealed=is_sealed)
        self._lease_s = lease_s
        self._noted: set[tuple[str, str]] = set()

    def get_many(self, keys: Iterable[str], *, ttl_s: int | None = None) -> dict[str, CachedAnswer]:
        """The answers that are there, not older than asked, and undamaged."""
        now = time.time()
        found: dict[str, CachedAnswer] = {}

        def get(chunk: Sequence[str]) -> None:
            values = self._client.mget([self._answers + key for key in chunk])
            for key, data in zip(chunk, values, strict=True):
                answer = None if data is None else CachedAnswer.load(key, data.decode("utf-8", "replace"))
                if answer is not None and answer.is_good(ttl_s, now) and self._gate.admits(answer):
                    found[key] = answer

        with self._place.reporting():
            in_chunks(get, list(keys))
        return found

    def put_many(self, answers: Mapping[str, CachedAnswer]) -> None:
        """Remember answers, hundreds with one command."""
        entries = [(self._answers + key, answer.dump(key)) for key, answer in answers.items()]
        with self._place.reporting():
            in_chunks(lambda chunk: self._client.mset(dict(chunk)), entries)

    def claims(self) -> Claims:
        """Claims of whoever calls this, which the server forgets when they are not renewed."""
        return RedisClaims(self._place, self._lease_s)

    def note_recipe(self, recipe: Recipe) -> None:
        """Remember how something was asked."""
        if recipe.name not in self._noted:
            with self._place.reporting():
                self._client.hsetnx(self._recipes, " ".join(recipe.name), recipe.dump())
            self._noted.add(recipe.name)

    def recipes(self) -> list[Recipe]:
        """Every recipe that was noted."""
        with self._place.reporting():
            recipes = [Recipe.load(data) for data in self._client.hvals(self._recipes)]
        return [recipe for recipe in recipes if recipe is not None]

    def keys(self, prefix: str = "") -> Iterator[str]:
        """The keys that begin so, in order, also of damaged entries.

        A server lists names in no order and has to walk through all it holds, so all keys stand in memory here: about 150 bytes each.
        """
        start = len(self._answers)
        with self._place.reporting():
            names = set(self._client.scan_iter(match=f"{self._answers}*", count=_SCANNED_AT_A_TIME))
        return iter(sorted(key for name in names if (key := name.decode()[start:]).startswith(prefix)))

    def entries(self) -> Iterator[tuple[str, CachedAnswer]]:
        """All undamaged answers, in the order of their keys; of these, a page stands in memory at a time."""
        keys = list(self.keys())
        for start in range(0, len(keys), _SCANNED_AT_A_TIME):
            yield from self.get_many(keys[start : start + _SCANNED_AT_A_TIME]).items()

    def remove(self, keys: Iterable[str]) -> int:
        """Forget answers; gives how many there were."""
        removed: list[int] = []
        with self._place.reporting():
            in_chunks(lambda chunk: removed.append(self._client.unlink(*chunk)), [self._answers + key for key in dict.fromkeys(keys)])
        return sum(removed)

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()
