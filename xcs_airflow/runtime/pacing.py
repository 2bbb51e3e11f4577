"""How fast one route may be used: calls in flight, calls and tokens per minute, and a pause for everybody when a limit is hit.

It knows time and counters; it does not know requests. One instance belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable

_LONGEST_BACKOFF_S = 60.0
_FIRST_BACKOFF_S = 0.5
_LONGEST_NAP_S = 0.2
"""How long who waits for tokens does not look whether some were given back."""


def backoff_s(attempt: int, spread: Callable[[float, float], float] = random.uniform) -> float:
    """How long to wait before an attempt: anything up to a bound that doubles ("full jitter").

    Spreading the whole range keeps workers that failed together from coming back together
    (aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter).

    Args:
        attempt: Failed attempts so far, at least 1.
        spread: Picks a number between two.
    """
    return spread(0.0, min(_LONGEST_BACKOFF_S, _FIRST_BACKOFF_S * 2**attempt))


class Pacing:
    """The pace of one route, shared by all who use it.

    The number of calls in flight follows the rule of TCP (additive increase, multiplicative decrease): a limit that is hit
    halves it, every full round of answers adds one.

    Attributes:
        answered: How many calls were answered so far.

    Args:
        in_flight: The most calls that may wait for an answer.
        per_minute: The most calls that may begin in a minute; None means no limit.
        tokens_per_minute: The most tokens that calls may use in a minute, and the most that those in flight may be going to use
            together, unless one call alone needs more; None means no limit.
        clock: Seconds, always rising.
        sleep: Waits for some seconds.
    """

    def __init__(
        self,
        in_flight: int,
        per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.answered = 0
        self._most = in_flight
        self._allowed = float(in_flight)
        self._active = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._clock = clock
        self._sleep = sleep
        self._paused_until = 0.0
        self._cut_at = 0.0
        self._interval_s = 60 / per_minute if per_minute else 0.0
        self._next_start = 0.0
        self._tokens_per_minute = tokens_per_minute
        self._expected = 0
        self._paid_at = 0.0

    @property
    def allowed(self) -> int:
        """How many calls may be in flight now."""
        return int(self._allowed)

    @property
    def counts_tokens(self) -> bool:
        """Whether calls must say how many tokens they use."""
        return self._tokens_per_minute is not None

    @property
    def is_free(self) -> bool:
        """Whether a call may begin now, so that `enter` does not wait."""
        is_timed = self._interval_s or self._paused_until or self.counts_tokens
        return not is_timed and not self._waiting and self._active < self.allowed

    async def enter(self, tokens: int = 0) -> float:
        """Wait for a place among the calls in flight; gives the time the call begins, for `slow_down`.

        Args:
            tokens: How many the call is expected to use; `spend` tells how many it did.
        """
        while self._active >= self.allowed:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                self._wake()  # the place may have been given to this one already
                raise
        began = self.begin()
        if self._interval_s or self._paused_until or self.counts_tokens:
            try:
                await self._moment(tokens)
            except BaseException:
                self.leave()
                raise
            began = self._clock()
        return began

    def begin(self) -> float:
        """Take a place that `is_free` says is there; gives the time."""
        self._active += 1
        return self._clock()

    def leave(self) -> None:
        """Give the place to the next."""
        self._active -= 1
        if self._waiting:
            self._wake()

    def spend(self, began: float, expected: int, used: int) -> None:
        """A call has ended: no other begins before the minute has made up for all tokens that were used.

        Args:
            began: When it began.
            expected: How many tokens it was expected to use.
            used: How many it used.
        """
        if self._tokens_per_minute is not None:
            self._expected -= expected
            self._paid_at = max(began, self._paid_at) + used * 60 / self._tokens_per_minute

    def speed_up(self) -> None:
        """A call was answered."""
        self.answered += 1
        if self._allowed < self._most:
            self._allowed = min(float(self._most), self._allowed + 1 / self._allowed)

    def slow_down(self, began: float, wait_s: float) -> None:
        """A limit was hit: everybody pauses, and fewer go on.

        Args:
            began: When the refused call began. Calls from before the last cut say nothing new and do not cut again.
            wait_s: How long to pause.
        """
        now = self._clock()
        self._paused_until = max(self._paused_until, now + wait_s)
        if began >= self._cut_at:
            self._cut_at = now
            self._allowed = max(1.0, self._allowed / 2)

    async def _moment(self, tokens: int) -> None:
        """Wait until nobody pauses, it is this call's turn in the minute, and its tokens fit in."""
        start = max(self._clock(), self._next_start)
        self._next_start = start + self._interval_s
        while (wait_s := self._wait_s(start, tokens)) > 0:
            await self._sleep(wait_s)
        self._expected += tokens

    def _wait_s(self, start: float, tokens: int) -> float:
        wait_s = max(start, self._paused_until, self._paid_at) - self._clock()
        if wait_s <= 0 and self._tokens_per_minute is not None and self._expected and self._expected + tokens > self._tokens_per_minute:
            return _LONGEST_NAP_S
        return wait_s

    def _wake(self) -> None:
        free = self.allowed - self._active
        while free > 0 and self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                free -= 1
