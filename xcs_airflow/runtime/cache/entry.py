"""One remembered answer, and what every cache promises.

It knows the JSON form of an entry and its checksum; it does not know where entries lie.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, Self

_CHECKSUM_DIGITS = 16


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """What is worth remembering of an answer.

    Attributes:
        text: The answer.
        input_tokens: Tokens of the request, when known: what a hit saves.
        output_tokens: Tokens of the answer, likewise.
        model: The model that answered, when known.
        created_at: When it came, in seconds since 1970.
    """

    text: str
    input_tokens: int | None
    output_tokens: int | None
    model: str | None
    created_at: int

    def dump(self, key: str) -> str:
        """The entry as JSON: a checksum over the key and the fields, and the fields."""
        fields = json.dumps([self.text, self.input_tokens, self.output_tokens, self.model, self.created_at])
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
    return hashlib.sha256(f"{key}{fields}".encode()).hexdigest()[:_CHECKSUM_DIGITS]


class Cache(Protocol):
    """Answers by key. Any number of threads and processes may use one place."""

    def get_many(self, keys: Iterable[str], *, ttl_s: int | None = None) -> dict[str, CachedAnswer]:
        """The answers that are there, not older than asked, and undamaged.

        Raises:
            RuntimeTaskError: The place does not answer (XCS614): asking models instead would cost money.
        """

    def put_many(self, answers: Mapping[str, CachedAnswer]) -> None:
        """Remember answers, replacing older ones.

        Raises:
            RuntimeTaskError: The place does not answer (XCS614).
        """
