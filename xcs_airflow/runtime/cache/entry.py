"""One remembered answer, and what every cache promises.

It knows the JSON form of an entry and its checksum; it does not know where entries lie.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Self

from xcs_airflow.errors import Finding, XcsError

_LOG = logging.getLogger("xcs_airflow.runtime")
_CHECKSUM_BYTES = 8
_CHECKSUM_DIGITS = 2 * _CHECKSUM_BYTES


class CachedAnswer(NamedTuple):
    """What is worth remembering of an answer.

    Attributes:
        text: The answer.
        input_tokens: Tokens of the request, when known: what a hit saves.
        output_tokens: Tokens of the answer, likewise.
        model: The model that answered, when known.
        created_at: When it came, in seconds since 1970.
        seal: Id of the key that the text is encrypted with; empty when it is not encrypted.
    """

    text: str
    input_tokens: int | None
    output_tokens: int | None
    model: str | None
    created_at: int
    seal: str = ""

    def dump(self, key: str) -> str:
        """The entry as JSON: a checksum over the key and the fields, and the fields."""
        fields = json.dumps([self.text, self.input_tokens, self.output_tokens, self.model, self.created_at, self.seal])
        return f'["{_checksum(key, fields)}",{fields}]'

    @classmethod
    def load(cls, key: str, data: str) -> Self | None:
        """Read an entry; None for anything that was not written so, under this key: damage is a miss, never an answer."""
        checksum, fields = data[2 : 2 + _CHECKSUM_DIGITS], data[4 + _CHECKSUM_DIGITS : -1]
        if checksum != _checksum(key, fields):
            return None
        try:
            answer = cls(*json.loads(fields))
        except (ValueError, TypeError, RecursionError):
            return None
        return answer if isinstance(answer.text, str) and isinstance(answer.created_at, int) else None

    def is_good(self, ttl_s: int | None, now: float) -> bool:
        """Whether it is young enough."""
        return ttl_s is None or self.created_at + ttl_s > now


def _checksum(key: str, fields: str) -> str:
    return hashlib.blake2b(f"{key}{fields}".encode("utf-8", "surrogatepass"), digest_size=_CHECKSUM_BYTES).hexdigest()


class Gate:
    """Keeps encrypted entries from those who would take them for answers, and plain ones from those who encrypt; warns once.

    Args:
        place: Where the entries are.
        is_sealed: Whether encrypted ones are asked for.
    """

    def __init__(self, place: str, *, is_sealed: bool) -> None:
        self._place = place
        self._is_sealed = is_sealed
        self._has_warned = False

    def admits(self, answer: CachedAnswer) -> bool:
        """Whether an entry is of the kind that is asked for."""
        if (answer.seal != "") == self._is_sealed:
            return True
        self.warn(
            "they are not encrypted, and XCS_CACHE_KEY_ENV is set"
            if self._is_sealed
            else "they are encrypted, and XCS_CACHE_KEY_ENV is not set"
        )
        return False

    def warn(self, reason: str) -> None:
        """Say that entries cannot be read, the first time."""
        if not self._has_warned:
            self._has_warned = True
            _LOG.warning("%s", Finding.of("XCS621", place=self._place, reason=reason, severity="warning"))


@dataclass(frozen=True, slots=True)
class Recipe:
    """All of a request but its messages: what the keys of one question have in common. Operations may share one.

    Attributes:
        digest: Of the fields.
        operation: Who asks so.
        fields: Model, place, sampling, schema, tenant and so on, by name; none is secret and none is a prompt.
    """

    digest: str
    operation: str
    fields: dict[str, Any]

    @property
    def name(self) -> tuple[str, str]:
        """What tells it from others."""
        return self.digest, self.operation

    def dump(self) -> str:
        """The JSON form, in ASCII."""
        return json.dumps([self.digest, self.operation, self.fields])

    @classmethod
    def load(cls, data: str | bytes) -> Self | None:
        """Read the JSON form; None for what is none."""
        try:
            recipe = cls(*json.loads(data))
        except (ValueError, TypeError, RecursionError):
            return None
        return recipe if isinstance(recipe.digest, str) and isinstance(recipe.fields, dict) else None


class Claims(Protocol):
    """Who is asking for what, among all processes that share a cache. A process that dies asks for nothing any more."""

    def take(self, keys: Iterable[str]) -> set[str]:
        """Say that one is going to ask.

        Args:
            keys: What is missing in the cache.

        Returns:
            The keys nobody else is asking for; they are the caller's until they are released.

        Raises:
            RuntimeTaskError: The place does not answer (XCS614).
        """

    def release(self, keys: Iterable[str]) -> None:
        """Let others ask: the answers are in the cache, or there will be none. Where that fails, it is logged."""

    def close(self) -> None:
        """Release all that is left, likewise."""


@contextmanager
def releasing() -> Iterator[None]:
    """While claims are released: one that cannot be ends with its owner, which is no reason to lose what was paid for."""
    try:
        yield
    except XcsError as error:
        _LOG.warning("claims could not be released, so others wait until this process has ended: %s", error)


class Cache(Protocol):
    """Answers by key, of one tenant. Any number of threads and processes may use one place.

    Attributes:
        is_remote: Whether reading and writing take so long that calls should not wait for it.
    """

    is_remote: bool

    def get_many(self, keys: Iterable[str], *, ttl_s: int | None = None) -> dict[str, CachedAnswer]:
        """The answers that are there, not older than asked, and undamaged.

        Raises:
            RuntimeTaskError: The place does not answer (XCS614): asking models instead would cost money.
        """

    def put_many(self, answers: Mapping[str, CachedAnswer]) -> None:
        """Remember answers, replacing older ones. When it returns, they survive the end of this process.

        Raises:
            RuntimeTaskError: The place does not answer (XCS614).
        """

    def claims(self) -> Claims:
        """Claims of whoever calls this; to be closed. Until one is taken, nothing is asked of the place."""

    def note_recipe(self, recipe: Recipe) -> None:
        """Remember how something was asked, for `xcs cache why-miss`. What was noted once costs nothing again."""

    def recipes(self) -> list[Recipe]:
        """Every recipe that was noted, once for each operation that asks so."""

    def keys(self, prefix: str = "") -> Iterator[str]:
        """The keys that begin so, in order, also of damaged entries, without holding them all in memory."""

    def entries(self) -> Iterator[tuple[str, CachedAnswer]]:
        """All undamaged answers and their keys, in the order of the keys, without holding them all in memory."""

    def remove(self, keys: Iterable[str]) -> int:
        """Forget answers; gives how many there were."""

    def close(self) -> None:
        """Let go of files and connections."""
