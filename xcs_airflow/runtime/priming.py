"""One call before the others: what it puts into a provider's prompt cache, these find there.

It knows prefixes and whether one was answered; it makes no call. Calls that begin together do not see what each of them writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager


class Priming:
    """Lets one call with each prefix be answered before others with it begin."""

    def __init__(self) -> None:
        self._warm: set[Hashable] = set()
        self._first: dict[Hashable, asyncio.Event] = {}

    @asynccontextmanager
    async def turn(self, prefix: Hashable) -> AsyncIterator[None]:
        """The time of one call. Where the first call with a prefix fails, the next one is the first.

        Args:
            prefix: What it begins with.
        """
        while prefix in self._first:
            await self._first[prefix].wait()
        if prefix in self._warm:
            yield
            return
        ended = self._first[prefix] = asyncio.Event()
        try:
            yield
            self._warm.add(prefix)
        finally:
            del self._first[prefix]
            ended.set()
