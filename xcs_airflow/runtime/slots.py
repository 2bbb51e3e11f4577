"""The places of the calls in flight of one task, shared by all questions that are asked side by side.

It knows how many there are; it makes no call.
"""

from __future__ import annotations

import asyncio
from collections import deque


class Slots:
    """A place for every call in flight. Who waits longest is next.

    asyncio's semaphore looks at everybody who waits whenever a place is left, and more wait here than there are places.

    Args:
        most: How many there are.
    """

    def __init__(self, most: int) -> None:
        self._free = most
        self._waiting: deque[asyncio.Future[None]] = deque()

    def take_at_once(self) -> Slot | None:
        """A place, if there is one that nobody waits for."""
        if not self._free:
            return None
        self._free -= 1
        return Slot(self)

    async def take(self) -> Slot:
        """Wait for a place."""
        slot = self.take_at_once()
        if slot is not None:
            return slot
        given: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(given)
        try:
            await given
        except asyncio.CancelledError:
            if given.done() and not given.cancelled():
                self.leave()
            raise
        return Slot(self)

    def leave(self) -> None:
        """Give a place to who waits longest, or keep it free."""
        while self._waiting:
            given = self._waiting.popleft()
            if not given.done():
                given.set_result(None)
                return
        self._free += 1


class Slot:
    """The place of one call: its own until its answer is safe, so that calls in doubt are never more than there are places."""

    __slots__ = ("_slots",)

    def __init__(self, slots: Slots) -> None:
        self._slots: Slots | None = slots

    def leave(self) -> None:
        """Let another call begin; nothing happens the second time."""
        slots, self._slots = self._slots, None
        if slots is not None:
            slots.leave()
