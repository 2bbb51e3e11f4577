"""Answers made safe a group at a time, before they count: remembered in a cache, then settled in the books.

It knows when to write; it does not know who asked, or what a call costs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple

from xcs_airflow.errors import XcsError
from xcs_airflow.runtime.cache import Cache, CachedAnswer
from xcs_airflow.runtime.ledger import Ledger

_LOG = logging.getLogger("xcs_airflow.runtime")


class _Arrived(NamedTuple):
    """An answer that is not safe yet, how its call is settled, and whoever waits until both are done."""

    key: str
    answer: CachedAnswer
    settle: Callable[[], None]
    safe: asyncio.Future[None]


class Keeper:
    """Makes the answers of one session safe in one cache.

    An answer counts once it survives the end of this process. Those that arrive while a group is being written are the next
    group (a group commit), whichever question they answer.

    Args:
        cache: What remembers them.
        ledger: Where their calls are settled.
        in_flight: How many calls may wait for an answer at a time.
    """

    def __init__(self, cache: Cache, ledger: Ledger, in_flight: int) -> None:
        self.is_remote = cache.is_remote
        self._cache = cache
        self._ledger = ledger
        # A quarter of those that can come at once. Were it all of them, they would go on together, too, and come at once again.
        self._most = in_flight if cache.is_remote else max(1, in_flight // 4)
        self._arrived: list[_Arrived] = []
        self._writer: asyncio.Task[None] | None = None
        self._owed: dict[str, CachedAnswer] = {}

    def keep(self, key: str, answer: CachedAnswer, settle: Callable[[], None]) -> Awaitable[None]:
        """Remember an answer and settle its call; to be awaited until both are done.

        Args:
            key: Its name.
            answer: What is remembered.
            settle: Writes down what became of the call.

        Raises:
            OSError: The books cannot be kept.
        """
        safe = asyncio.get_running_loop().create_future()
        self._arrived.append(_Arrived(key, answer, settle, safe))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())
        return safe

    async def give_again(self) -> None:
        """Give what the cache did not take to it once more."""
        if self._owed:
            await asyncio.to_thread(self._remember, ())

    async def finish(self) -> None:
        """Wait until everything that arrived is safe, whoever still waits for it: it was paid for."""
        while self._writer is not None:
            await self._writer
        await self.give_again()

    async def _write(self) -> None:
        try:
            while self._arrived:
                await self._more_arrive()
                group, self._arrived = self._arrived, []
                try:
                    await self._keep(group)
                except Exception as error:  # noqa: BLE001  # whoever waits for one of these answers raises it
                    for arrived in group:
                        if not arrived.safe.done():
                            arrived.safe.set_exception(error)
        finally:
            self._writer = None

    async def _more_arrive(self) -> None:
        """Let answers that are here, but were not read yet, join the group. A turn of the loop that brings none closes it."""
        seen = 0
        while seen < len(self._arrived) < self._most:
            seen = len(self._arrived)
            await asyncio.sleep(0)

    async def _keep(self, group: Sequence[_Arrived]) -> None:
        answers = [(arrived.key, arrived.answer) for arrived in group]
        try:
            # What takes less time than handing it to a thread is done here.
            if self.is_remote:
                await asyncio.to_thread(self._remember, answers)
            else:
                self._remember(answers)
        finally:
            for arrived in group:
                arrived.settle()
            self._ledger.settled()
        for arrived in group:
            if not arrived.safe.done():
                arrived.safe.set_result(None)

    def _remember(self, new: Iterable[tuple[str, CachedAnswer]]) -> None:
        """Give answers to the cache. If it does not take them, work goes on, and the next group has them, too."""
        answers = self._owed | dict(new)
        try:
            self._cache.put_many(answers)
            self._owed = {}
        except XcsError as error:
            self._owed = answers
            _LOG.warning("%d answers could not be remembered: %s", len(answers), error)
