"""One attempt's purse: it fills it from what is left of the run's budget, a part at a time, and pays calls out of it.

It knows reservations and leases; `allotments.py` knows how attempts agree, `reclaim.py` what the dead leave behind.

An attempt spends only what the shared document says it was given, and begins a call only if its lease holds after the intent was
written. So whatever happens to it, the document bounds what it spent; and when its lease has been over for a while, its books say how
much less that was: a call that is not in them by then is never made.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from decimal import ROUND_UP, Decimal
from typing import NamedTuple, Self

from xcs_airflow.runtime.allotments import Allotment, Allotments, SharedAllotments
from xcs_airflow.runtime.attempt import Attempt
from xcs_airflow.runtime.books import Price
from xcs_airflow.runtime.budget import BudgetError, BudgetHeldError, cost_of, worst_case
from xcs_airflow.runtime.models.provider import ModelAnswer, ModelRequest
from xcs_airflow.runtime.models.routes import Target
from xcs_airflow.runtime.reclaim import Others, spent_at_most
from xcs_airflow.runtime.segments import all_books
from xcs_airflow.runtime.store import Store, StoreUnavailableError

_LOG = logging.getLogger("xcs_airflow.runtime")

_SHARE = Decimal("0.05")
"""Of what is left, an attempt takes this part at a time beyond what it needs: few writes at first, fair shares near the end."""

_LEASE_S = 60.0
_LEASE_PER_ATTEMPT_S = 2.0
"""With many attempts leases are longer, so that renewing them is one write in two seconds at most, whatever their number."""

_PATIENCE_LEASES = 2.0
_LOOKS_PER_LEASE = 20
_HEADROOM = Decimal("1.25")
_STEP = Decimal("0.000001")
_NOTHING = Decimal(0)
_NONE = Allotment(usd=_NOTHING, largest_usd=_NOTHING, beat=0, lease_s=0)


class _Short(NamedTuple):
    """What was seen when there was not enough."""

    left_usd: Decimal
    others_usd: Decimal
    held_usd: Decimal
    spent_usd: Decimal
    lease_s: float


class RunPurse:
    """The share of one attempt. Any thread and any event loop may use it.

    Args:
        store: Where the document and the ledger of the run lie.
        folder: The run's folder.
        segment: The name of the attempt's segment of the ledger, which no other attempt has.
        budget_usd: What all calls of the run may cost.
        price: What calls cost.
        clock: Seconds that pass whether this process runs or not.
        pause: Waits for some seconds.
    """

    def __init__(
        self,
        store: Store,
        folder: str,
        segment: str,
        budget_usd: Decimal,
        price: Price,
        *,
        clock: Callable[[], float] | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._ledger = f"{folder}/ledger"
        self._name = segment.removeprefix(f"{self._ledger}/")
        self._budget = budget_usd
        self._price = price
        self._clock = clock or _seconds
        self._pause = pause
        self._shared = SharedAllotments(store, f"{folder}/budget.json", self._name, self._first)
        self._lock = threading.RLock()
        self._granted = self._used = self._reserved = self._largest = _NOTHING
        self._beat = 0
        self._good_until = float("-inf")
        self._feared = _NOTHING
        self._ends = 0
        self._waiting: list[asyncio.Future[None]] = []
        self._asking: list[asyncio.Future[None]] | None = None
        self._last: tuple[int, Decimal, _Short] | None = None
        self._others = Others(store, self._ledger, self._name, self._shared, price, self._clock)

    @classmethod
    def of(cls, attempt: Attempt, budget_usd: Decimal, price: Price) -> Self:
        """The purse of an attempt."""
        return cls(attempt.store, attempt.folder, attempt.ledger_segment, budget_usd, price)

    async def reserve(self, target: Target, request: ModelRequest) -> Decimal:
        """Set aside what a live call costs at worst; see `Purse`."""
        worst = worst_case(target, request, self._price)
        until: float | None = None
        while not self._set_aside(worst):
            ends = self._ends
            short = await self._more(worst)
            if short is None:
                continue
            if self._reserved or self._ends != ends:
                await self._ending(ends)
            else:
                until = await self._patience(until, target, worst, short)
        return worst

    def still_has(self, reserved: Decimal) -> bool:
        """Whether what was set aside is still this attempt's; see `Purse`."""
        with self._lock:
            return not reserved or self._clock() < self._good_until

    def paid(self, reserved: Decimal, target: Target, answer: ModelAnswer) -> None:
        """A live call was answered: what it cost is spent. Where nobody knows the cost, it is the worst case."""
        cost = cost_of(target, answer, self._price)
        if cost is not None and cost > reserved:
            _LOG.warning("a call to %s cost %s USD, more than its worst case of %s USD", target.answered_by, cost, reserved)
        self._end(reserved, reserved if cost is None else cost)

    def unpaid(self, reserved: Decimal) -> None:
        """A call was not made, or not answered, and costs nothing."""
        self._end(reserved, _NOTHING)

    def lost(self, reserved: Decimal) -> None:
        """Nobody knows what became of a call: its worst case counts as spent."""
        self._end(reserved, reserved)

    async def hold(self, name: str, target: Target, requests: Iterable[ModelRequest]) -> Decimal:
        """Set aside what a provider's batch costs at worst, beyond the end of this attempt; see `Purse`."""
        worst = sum((worst_case(target, request, self._price, is_batch=True) for request in requests), start=_NOTHING)
        self._feared = max(self._feared, worst)

        def add(shares: Allotments) -> Allotments:
            if name in shares.held or worst > shares.left(self._budget):
                return shares
            return shares.model_copy(update={"held": {**shares.held, name: worst}})

        until: float | None = None
        while True:
            shares = await asyncio.to_thread(self._shared.change, add)
            if name in shares.held:
                return shares.held[name]
            if not await asyncio.to_thread(self._others.revalue, shares):
                until = await self._patience(until, target, worst, self._short(shares))

    async def release(self, name: str, spent_usd: Decimal | None) -> None:
        """A batch has come to its end: what it did not cost is free again; see `Purse`."""

        def free(shares: Allotments) -> Allotments:
            if name not in shares.held:
                return shares
            rest = {other: amount for other, amount in shares.held.items() if other != name}
            spent = shares.spent_usd + (shares.held[name] if spent_usd is None else spent_usd)
            return shares.model_copy(update={"held": rest, "spent_usd": spent})

        await asyncio.to_thread(self._shared.change, free)

    def close(self) -> None:
        """Give back what was neither spent nor may have been. What the store does not take now is found by whoever needs it."""
        with self._lock:
            used, in_doubt = self._used, self._reserved
            self._good_until = float("-inf")
            if not self._beat:
                return

        def leave(shares: Allotments) -> Allotments:
            mine = shares.attempts.get(self._name)
            # Of what is in doubt, others may have found in the books how little it was.
            return shares if mine is None else shares.without_attempt(self._name, max(used, min(used + in_doubt, mine.usd)))

        try:
            self._shared.change(leave)
        except StoreUnavailableError as error:
            _LOG.warning("what is left of this task's share of the budget could not be given back yet: %s", error)

    def _set_aside(self, worst: Decimal) -> bool:
        with self._lock:
            is_there = worst <= self._granted - self._used - self._reserved
            if worst and not (is_there and worst <= self._largest and self._clock() < self._good_until):
                return False
            self._reserved += worst
            return True

    def _end(self, reserved: Decimal, spent: Decimal) -> None:
        with self._lock:
            self._reserved -= reserved
            self._used += spent
            self._ends += 1
            waiting, self._waiting = self._waiting, []
        _wake(waiting)

    async def _ending(self, ends: int) -> None:
        """Wait until one of the attempt's own calls has ended since so many had."""
        ended = asyncio.get_running_loop().create_future()
        with self._lock:
            if self._ends != ends:
                return
            self._waiting.append(ended)
        await ended

    async def _more(self, worst: Decimal) -> _Short | None:
        """Ask for more, one at a time; gives what is missing."""
        asked: asyncio.Future[None] | None = None
        with self._lock:
            ends = self._ends
            if self._asking is not None:
                asked = asyncio.get_running_loop().create_future()
                self._asking.append(asked)
            elif self._last is not None and self._last[0] == ends and worst >= self._last[1] and self._reserved:
                return self._last[2]
            else:
                self._asking = []
        if asked is not None:
            await asked
            return None
        try:
            short = await asyncio.to_thread(self._enlarge, worst)
            self._last = None if short is None else (ends, worst, short)
            return short
        finally:
            with self._lock:
                waiting, self._asking = self._asking or [], None
            _wake(waiting)

    async def _patience(self, until: float | None, target: Target, worst: Decimal, short: _Short) -> float:
        """Wait a little for other attempts, as long as that makes sense; gives until when it does.

        Raises:
            BudgetError: It does not.
        """
        now = self._clock()
        until = now + _PATIENCE_LEASES * short.lease_s if until is None else until
        if now < until and short.others_usd > 0:
            await self._pause(short.lease_s / _LOOKS_PER_LEASE)
            return until
        others = short.others_usd + short.held_usd
        amounts = {"worst": worst, "budget": self._budget, "left": short.left_usd, "others": others, "spent": short.spent_usd}
        facts = {name: _shown(amount) for name, amount in amounts.items()}
        if others + short.left_usd >= worst:
            raise BudgetHeldError.because("XCS733", model=target.model, **facts)
        raise BudgetError.because("XCS730", model=target.model, **facts)

    def _enlarge(self, worst: Decimal) -> _Short | None:
        """Have more of the document's money for this attempt; gives what is missing, when the dead left nothing either."""
        self._feared = max(self._feared, worst)
        while True:
            began = self._clock()
            shares = self._shared.change(lambda shares: self._with_more(shares, worst))
            mine = shares.attempts.get(self._name)
            with self._lock:
                if mine is not None and mine.beat > self._beat:
                    self._granted, self._largest, self._beat = mine.usd, mine.largest_usd, mine.beat
                    self._good_until = began + mine.lease_s
                    return None
            if not self._others.revalue(shares):
                return self._short(shares)

    def _with_more(self, shares: Allotments, worst: Decimal) -> Allotments:
        """The document with as much for this attempt as it needs and a part of the rest; as it was when there is not enough."""
        mine = shares.attempts.get(self._name) or _NONE
        with self._lock:
            needed = self._used + self._reserved + worst
            beat = max(self._beat, mine.beat) + 1
        available = shares.left(self._budget) + mine.usd
        if needed > available:
            return shares
        least = max(needed, mine.usd)
        share = ((available - least) * _SHARE).quantize(_STEP, ROUND_UP)
        entry = Allotment(
            usd=max(least, min(available, needed + share)),
            largest_usd=worst * _HEADROOM if worst > mine.largest_usd else mine.largest_usd,
            beat=beat,
            lease_s=max(_LEASE_S, _LEASE_PER_ATTEMPT_S * len(shares.attempts)),
        )
        return shares.with_attempt(self._name, entry)

    def _short(self, shares: Allotments) -> _Short:
        """What there is instead of enough."""
        alive = self._others.alive(shares)
        others = sum((entry.usd for entry in alive), start=_NOTHING)
        held = sum(shares.held.values(), start=_NOTHING)
        with self._lock:
            own = self._used + self._reserved
        left = max(self._budget - shares.taken_usd + (shares.attempts.get(self._name) or _NONE).usd - own, _NOTHING)
        lease_s = max((entry.lease_s for entry in alive), default=_LEASE_S)
        return _Short(left, others, held, self._budget - left - others - held, lease_s)

    def _first(self) -> Allotments:
        """The state of a run without a document: what its ledger shows, from times without a budget, is spent."""
        own = f"{self._ledger}/{self._name}"
        books = [books for segment, books in all_books(self._store, self._ledger, self._price) if segment != own]
        return Allotments(spent_usd=sum((spent_at_most(entry, self._price, self._feared) for entry in books), start=_NOTHING))


def _wake(waiting: Iterable[asyncio.Future[None]]) -> None:
    for future in waiting:
        with contextlib.suppress(RuntimeError):  # its event loop has ended, and who waited with it
            future.get_loop().call_soon_threadsafe(_finish, future)


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _shown(amount: Decimal) -> str:
    return f"{amount.normalize():f}"


def _seconds() -> float:
    """Seconds that pass while the machine sleeps, too, where the system counts them."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
