"""What is written down before calls are made: those that begin together are one write.

It knows the ledger and the event loop; it makes no call.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable

from xcs_airflow.runtime.books import Account
from xcs_airflow.runtime.ledger import Ledger


class Intents:
    """Announces the calls of one line.

    Calls that begin in the same turn of the event loop share a write, and none begins before it is done: a process that is
    killed leaves at most as many calls in doubt as it had in flight. Where keeping a record is slow, as in a bucket, one intent
    announces many calls, and what is not made is given back in the end.

    Args:
        ledger: Where they are written down.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._most = ledger.calls_per_intent
        self._begun: Counter[Account] = Counter()
        self._waiting: list[asyncio.Future[None]] = []
        self._announcing = asyncio.Lock()
        self._announced: Counter[Account] = Counter()

    def announce(self, account: Account, remaining: int) -> Awaitable[None]:
        """Write down that a call is going to be made; to be awaited until that survives the end of this process.

        Args:
            account: Who asks whom.
            remaining: How many calls this one and those to come are, at most.

        Raises:
            OSError: The ledger cannot be written.
        """
        return self._together(account) if self._most == 1 else self._ahead(account, remaining)

    def withdraw(self, account: Account) -> None:
        """Take back the announcement of one call, which is not made."""
        if self._most == 1:
            self._ledger.give_back(account, 1)
        else:
            self._announced[account] += 1

    def close(self) -> None:
        """Write down which announced calls were not made."""
        for account, calls in self._announced.items():
            self._ledger.give_back(account, calls)
        self._announced.clear()

    async def _together(self, account: Account) -> None:
        loop = asyncio.get_running_loop()
        written: asyncio.Future[None] = loop.create_future()
        if not self._waiting:
            # Not in this turn of the loop but after the next: whoever is being woken now begins with this one.
            loop.call_soon(loop.call_soon, self._write)
        self._waiting.append(written)
        self._begun[account] += 1
        try:
            await written
        except asyncio.CancelledError:
            if written in self._waiting:
                self._begun[account] -= 1
            else:
                self._ledger.give_back(account, 1)
            raise

    def _write(self) -> None:
        waiting, self._waiting = self._waiting, []
        begun, self._begun = self._begun, Counter()
        error: Exception | None = None
        try:
            for account, calls in begun.items():
                if calls:
                    self._ledger.intend(account, calls)
            self._ledger.flush()
        except Exception as reason:  # noqa: BLE001  # it is raised by whoever waits
            error = reason
            for account, calls in begun.items():
                self._ledger.give_back(account, calls)
        for written in waiting:
            if written.done():
                continue
            if error is None:
                written.set_result(None)
            else:
                written.set_exception(error)

    async def _ahead(self, account: Account, remaining: int) -> None:
        if not self._announced[account]:
            async with self._announcing:
                if not self._announced[account]:
                    calls = max(1, min(self._most, remaining))
                    self._ledger.intend(account, calls)
                    await asyncio.to_thread(self._ledger.flush)
                    self._announced[account] = calls
        self._announced[account] -= 1
