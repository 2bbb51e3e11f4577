"""The rows of a mapped step: items that belong together, brought together by their keys, a shard's worth at a time.

It knows keys, lists and stored collections; it does not know what becomes of a row.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from xcs_airflow.errors import RuntimeTaskError
from xcs_airflow.manifest import shard_of
from xcs_airflow.runtime.results import Results, position

Item = tuple[str, Any]


@dataclass(frozen=True)
class Source:
    """What one input iterates, as far as it belongs to a shard.

    Attributes:
        name: The input's name.
        read: Gives the items in the order of their keys.
        count: Counts those in this shard, which may take reading them all.
        length: How long the whole list is, when it is a plain list and not the result of a mapped step.
    """

    name: str
    read: Callable[[], Iterator[Item]]
    count: Callable[[], int]
    length: int | None


def stored_source(name: str, results: Results, step_id: str, shard: int, shards: int) -> Source:
    """The items of another step's list or collection."""
    length = results.count(step_id, 0, 1) if results.form(step_id, shard, shards) == "list" else None

    def count() -> int:
        return results.count(step_id, shard, shards) if length is None else _share(length, shard, shards)

    return Source(name, lambda: results.items(step_id, shard, shards), count, length)


def listed_source(name: str, items: Sequence[Any], shard: int, shards: int) -> Source:
    """The items of a list in memory."""
    keys = [str(index) for index in range(len(items))]
    own = [index for index, key in enumerate(keys) if shard_of(key, shards) == shard]
    return Source(name, lambda: ((keys[index], items[index]) for index in own), lambda: len(own), len(items))


def _share(length: int, shard: int, shards: int) -> int:
    return length if shards == 1 else sum(shard_of(str(index), shards) == shard for index in range(length))


def rows(sources: Sequence[Source], step_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Items taken together: for every key of the smallest source, the items all sources have under it.

    Raises:
        RuntimeTaskError: A source lacks a key, or plain lists differ in length (XCS610).
    """
    smallest = sources[0] if len(sources) == 1 else min(sources, key=lambda source: source.count())
    others = [source for source in sources if source is not smallest]
    for other in others:
        if None not in (other.length, smallest.length) and other.length != smallest.length:
            raise _misfit(step_id, smallest, other, f"{smallest.length} against {other.length}")
    readers = {other.name: _Follower(other) for other in others}
    for key, item in smallest.read():
        row = {smallest.name: item}
        for other in others:
            found, row[other.name] = readers[other.name].at(key)
            if not found:
                raise _misfit(step_id, smallest, other, f"there is no item {key} in {other.name}")
        yield key, row
    for reader in readers.values():
        reader.finish()


class _Follower:
    """Reads a source up to the keys somebody else gives, which only rise."""

    def __init__(self, source: Source) -> None:
        self._items = source.read()

    def at(self, key: str) -> tuple[bool, Any]:
        """Whether there is an item with a key, and the item."""
        wanted = position(key)
        for found, item in self._items:
            if found == key:
                return True, item
            if position(found) > wanted:
                return False, None
        return False, None

    def finish(self) -> None:
        """Read what is left, for only at its end a stored source is found whole."""
        deque(self._items, maxlen=0)


def _misfit(step_id: str, first: Source, second: Source, reason: str) -> RuntimeTaskError:
    return RuntimeTaskError.because("XCS610", operation=step_id, first=first.name, second=second.name, reason=reason)
