"""The places of the calls in flight of one task, shared by all questions that are asked side by side.

It knows how many there are; it makes no call.
"""

from __future__ import annotations

import asyncio


class Slots:
    """A place for every call in flight.

    Args:
        most: How many there are.
    """

    def __init__(self, most: int) -> None:
        self._free = asyncio.Semaphore(most)

    async def take(self) -> Slot:
        """Wait for a place."""
        await self._free.acquire()
        return Slot(self._free)


class Slot:
    """The place of one call: its own until its answer is safe, so that calls in doubt are never more than there are places."""

    def __init__(self, free: asyncio.Semaphore) -> None:
        self._free: asyncio.Semaphore | None = free

    def leave(self) -> None:
        """Let another call begin; nothing happens the second time."""
        free, self._free = self._free, None
        if free is not None:
            free.release()
