"""Remembering answers soon after they arrive, many at a time: a process that dies loses only the last moment.

It knows when to write; the cache knows how.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress

from xcs_airflow.errors import XcsError
from xcs_airflow.runtime.cache import Cache, CachedAnswer
from xcs_airflow.runtime.models.provider import ModelAnswer

_LOG = logging.getLogger("xcs_airflow.runtime")
_WITHIN_S = 0.05


class Keeper:
    """Gathers answers and gives them to a cache.

    A cache that does not take them is no reason to lose answers that were paid for: it is logged, and work goes on.

    Args:
        cache: Where answers are remembered.
    """

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._waiting: dict[str, CachedAnswer] = {}
        self._closing = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None

    def keep(self, key: str, answer: ModelAnswer) -> None:
        """Remember an answer within the next moment."""
        created_at = int(time.time())
        self._waiting[key] = CachedAnswer(answer.text, answer.input_tokens, answer.output_tokens, answer.model, created_at)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())

    async def close(self) -> None:
        """Remember all that waits, now; also when everything is being cancelled."""
        self._closing.set()
        try:
            if self._writer is not None:
                await self._writer
        finally:
            self._put()

    async def _write(self) -> None:
        while self._waiting:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), _WITHIN_S)
            await asyncio.to_thread(self._put)

    def _put(self) -> None:
        answers, self._waiting = self._waiting, {}
        try:
            if answers:
                self._cache.put_many(answers)
        except XcsError as error:
            _LOG.warning("%d answers could not be remembered: %s", len(answers), error)
