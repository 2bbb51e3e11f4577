"""Why answers are not found: the same prompt was asked in another way, too long ago, or never.

It knows keys and recipes; it does not know where prompts come from.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from xcs_airflow.runtime.cache.entry import Cache, Recipe
from xcs_airflow.runtime.keys import halves

Reason = Literal["remembered", "too_old", "unreadable", "asked_differently", "never_asked"]
"""There is an answer; it is older than the policy takes; it is damaged or encrypted; the prompt is there with another recipe; or not."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A field of a request that is not what it was; None stands for what is not set.

    Attributes:
        field: Its name.
        old: What it was when the answer came.
        new: What it is now.
    """

    field: str
    old: Any
    new: Any


@dataclass(frozen=True, slots=True)
class Way:
    """A way of asking that answers are remembered for.

    Attributes:
        recipe: The digest of its fields.
        operations: Who asks so; none when nobody noted it.
        entries: How many answers there are.
        differences: What is not as the operation asks now; None when nobody noted the fields.
    """

    recipe: str
    operations: tuple[str, ...]
    entries: int
    differences: tuple[Difference, ...] | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one prompt.

    Attributes:
        item: The key of the item; empty for an operation that is not mapped.
        key: The name of its answer.
        reason: What was found.
        age_s: How old the answer is, where it is too old.
        recipe: How it was asked instead, where it was asked differently: the way with the fewest differences.
    """

    item: str
    key: str
    reason: Reason
    age_s: int | None = None
    recipe: str | None = None


@dataclass(frozen=True, slots=True)
class Inquiry:
    """What is known about the answers of one operation.

    Attributes:
        recipe: The digest of how it asks now.
        ttl_s: For how many seconds its answers are good; None means for ever.
        entries: How many answers there are for that.
        ways: How else it was asked, or its prompts were, with answers that are still there; the most similar first.
        verdicts: What became of its prompts, in their order.
    """

    recipe: str
    ttl_s: int | None
    entries: int
    ways: tuple[Way, ...]
    verdicts: tuple[Verdict, ...] = ()


def inquire(cache: Cache, recipe: Recipe, keys: Mapping[str, str], ttl_s: int | None) -> Inquiry:
    """Look for answers, and for what is there in their place. Every key of the cache is looked at once.

    Args:
        cache: Where answers would be.
        recipe: How the operation asks now.
        keys: The names of the answers, by the items' keys.
        ttl_s: For how many seconds an answer is good; None means for ever.

    Raises:
        RuntimeTaskError: The cache does not answer (XCS614).
    """
    prompts = {halves(key)[0] for key in keys.values()}
    counts: Counter[str] = Counter()
    asked: dict[str, list[str]] = defaultdict(list)
    for key in cache.keys():  # noqa: SIM118  # no dict
        prompt, digest = halves(key)
        counts[digest] += 1
        if prompt in prompts:
            asked[prompt].append(digest)
    ways = _ways(cache, recipe, counts, {digest for digests in asked.values() for digest in digests})
    rank = {way.recipe: number for number, way in enumerate(ways)}
    found = cache.get_many(keys.values())
    now = time.time()

    def verdict(item: str, key: str) -> Verdict:
        prompt, digest = halves(key)
        if key in found:
            if found[key].is_good(ttl_s, now):
                return Verdict(item, key, "remembered")
            return Verdict(item, key, "too_old", age_s=int(now - found[key].created_at))
        if digest in asked[prompt]:
            return Verdict(item, key, "unreadable")
        if asked[prompt]:
            return Verdict(item, key, "asked_differently", recipe=min(asked[prompt], key=rank.__getitem__))
        return Verdict(item, key, "never_asked")

    verdicts = tuple(verdict(item, key) for item, key in keys.items())
    return Inquiry(recipe.digest, ttl_s, counts[recipe.digest], ways, verdicts)


def _ways(cache: Cache, recipe: Recipe, counts: Mapping[str, int], also: set[str]) -> tuple[Way, ...]:
    noted = cache.recipes()
    fields = {other.digest: other.fields for other in noted}
    operations: dict[str, set[str]] = defaultdict(set)
    for other in noted:
        operations[other.digest].add(other.operation)
    shown = also | {digest for digest in counts if recipe.operation in operations[digest]}
    ways = [
        Way(digest, tuple(sorted(operations[digest])), counts[digest], _differences(fields.get(digest), recipe.fields))
        for digest in shown - {recipe.digest}
    ]
    return tuple(sorted(ways, key=lambda way: (way.differences is None, len(way.differences or ()), -way.entries, way.recipe)))


def _differences(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> tuple[Difference, ...] | None:
    if old is None:
        return None
    names = sorted(old.keys() | new.keys())
    return tuple(Difference(name, old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name))
