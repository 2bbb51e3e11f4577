"""The way to one model: its provider, its pace, when to try again and when to give up.

It knows attempts and their failures; it does not know rows or caches.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Hashable
from decimal import Decimal
from typing import Literal, NamedTuple

from xcs_airflow.errors import ModelError, ModelUnavailableError
from xcs_airflow.runtime.books import Outcome
from xcs_airflow.runtime.budget import BudgetError, Purse
from xcs_airflow.runtime.intents import Intents
from xcs_airflow.runtime.ledger import Ledger
from xcs_airflow.runtime.models.provider import AttemptError, ModelAnswer, ModelRequest, Provider
from xcs_airflow.runtime.models.tokens import expected_tokens, used_tokens
from xcs_airflow.runtime.pacing import Pacing, backoff_s
from xcs_airflow.runtime.priming import Priming
from xcs_airflow.runtime.question import Question
from xcs_airflow.runtime.slots import Slot, Slots
from xcs_airflow.runtime.telemetry import telemetry

_LONGEST_WAIT_S = 120.0
"""A provider that asks for more patience gets the task back later: a waiting container costs money too."""

_NOTHING = Decimal(0)
_UNAVAILABLE_IN_A_ROW = 3
_FAILED_WITHOUT_ONE_SUCCESS = 50


class RouteError(ModelError):
    """A refusal that every other request would meet as well, as for a wrong key."""


class Reply(NamedTuple):
    """An answer that is not in the books yet.

    Attributes:
        answer: What came.
        seconds: How long it took.
        reserved: What was set aside for it.
        slot: The place of the call, which is left when it is settled.
    """

    answer: ModelAnswer
    seconds: float
    reserved: Decimal
    slot: Slot


class Line:
    """The way to one model, shared by all who ask it.

    Attributes:
        stopped: Why no further call should be made; None as long as there is hope.

    Args:
        provider: Who answers.
        pacing: How fast.
        slots: The calls in flight of the whole task.
        ledger: Where every call is written down.
        purse: What calls may cost; None means no limit.
    """

    def __init__(self, provider: Provider, pacing: Pacing, slots: Slots, ledger: Ledger, purse: Purse | None = None) -> None:
        self.stopped: ModelError | None = None
        self._provider = provider
        self._pacing = pacing
        self._slots = slots
        self._ledger = ledger
        self._purse = purse
        self._telemetry = telemetry()
        self._failed_in_a_row = 0
        self._intents = Intents(ledger)
        self._priming = Priming()

    def ask(self, question: Question, request: ModelRequest, remaining: int) -> Awaitable[Reply]:
        """Get an answer, trying again where that may help. Whoever gets it gives it to `settle`, once it is safe.

        Args:
            question: Who asks.
            request: The complete request.
            remaining: How many calls this one and those to come are, at most.

        Raises:
            ModelError: The request was refused (XCS702), or would cost more than is left.
            ModelUnavailableError: There was no answer after the step's number of attempts (XCS703).
        """
        if request.prefix is not None and request.prefix.prime:
            return self._in_turn(request.prefix.texts(request.messages), question, request, remaining)
        return self._answered(question, request, remaining)

    async def _in_turn(self, prefix: Hashable, question: Question, request: ModelRequest, remaining: int) -> Reply:
        """An answer that finds in the provider's prompt cache what the first one wrote there, unless it is the first."""
        async with self._priming.turn(prefix):
            if self.stopped is not None:
                raise self.stopped
            return await self._answered(question, request, remaining)

    async def _answered(self, question: Question, request: ModelRequest, remaining: int) -> Reply:
        """An answer, after as many attempts as make sense."""
        failed = 0
        expected = expected_tokens(request) if self._pacing.counts_tokens else 0
        while True:
            began, slot = await self._places(expected)
            answered = self._pacing.answered
            used = 0
            try:
                reply = await self._attempt(question, request, remaining, slot)
                used = used_tokens(reply.answer, expected)
                return reply  # noqa: TRY300  # whatever happens, the pace is told what was used
            except AttemptError as error:
                slot.leave()
                used = expected if error.may_be_billed else 0
                # Being told to slow down is no failure as long as others get through.
                failed += not (error.is_limit and self._pacing.answered > answered)
                # A server that asks for no patience has no idea, and five attempts would be over in a moment.
                wait_s = error.retry_after_s or backoff_s(failed + 1)
                self._give_up(question, error, failed, wait_s)
                if question.target.is_stand_in:
                    wait_s = 0
                if error.is_limit:
                    self._pacing.slow_down(began, wait_s)
                    wait_s = 0
            except BaseException:
                slot.leave()
                raise
            finally:
                self._pacing.spend(began, expected, used)
                self._pacing.leave()
            await asyncio.sleep(wait_s)

    def settle(self, question: Question, reply: Reply, outcome: Outcome) -> None:
        """Write down what became of an answer."""
        target = question.target
        billed_as = target.answered_by if target.route.billing == "list" else None
        self._ledger.settle(question.account, reply.answer, outcome, billed_as=billed_as, seconds=reply.seconds)
        if self._purse is not None:
            self._purse.paid(reply.reserved, target, reply.answer)
        reply.slot.leave()

    def note(self, error: ModelError | None) -> None:
        """Learn how a call ended, and whether further ones make sense."""
        if error is None:
            self._failed_in_a_row = 0
            return
        self._failed_in_a_row += 1
        is_down = error.retryable and self._failed_in_a_row >= _UNAVAILABLE_IN_A_ROW
        is_hopeless = not self._pacing.answered and self._failed_in_a_row >= _FAILED_WITHOUT_ONE_SUCCESS
        if isinstance(error, (RouteError, BudgetError)) or is_down or is_hopeless:
            self.stopped = self.stopped or error

    def close(self) -> None:
        """Write down which announced calls were not made."""
        self._intents.close()

    def _give_up(self, question: Question, error: AttemptError, failed: int, wait_s: float) -> None:
        """Raise what a failed attempt means, unless there is a reason to try again."""
        who = {"operation": question.name, "model": question.model, "reason": error.reason}
        if error.blame != "busy":
            refusal = RouteError if error.blame == "route" else ModelError
            raise refusal.because("XCS702", **who) from None
        if failed >= question.attempts or wait_s > _LONGEST_WAIT_S or self.stopped is not None:
            raise ModelUnavailableError.because("XCS703", attempts=failed, **who) from None

    async def _places(self, expected: int) -> tuple[float, Slot]:
        """A place among the calls of this route and one among those of the task; gives when the call begins, for the pace.

        Whoever waits for the route keeps no place of the task meanwhile: other routes may have use for it.
        """
        slot = self._slots.take_at_once() or await self._slots.take()
        if self._pacing.is_free:
            return self._pacing.begin(), slot
        slot.leave()
        began = await self._pacing.enter(expected)
        try:
            return began, await self._slots.take()
        except BaseException:
            self._pacing.spend(began, expected, 0)
            self._pacing.leave()
            raise

    async def _attempt(self, question: Question, request: ModelRequest, remaining: int, slot: Slot) -> Reply:
        """One attempt, in a place that an answer keeps until it is settled."""
        if self._purse is None:
            await self._intents.announce(question.account, remaining)
            reserved = _NOTHING
        else:
            reserved = await self._announced(self._purse, question, request, remaining)
        try:
            started = time.perf_counter()
            if self._telemetry is None:
                answering = self._provider.complete(request)
                answer = answering if isinstance(answering, ModelAnswer) else await answering
            else:
                with self._telemetry.call(question.account, question.target, request) as span:
                    answering = self._provider.complete(request)
                    answer = answering if isinstance(answering, ModelAnswer) else await answering
                    span.answered(answer)
        except AttemptError as error:
            self._fail(question, reserved, "unknown" if error.may_be_billed else "refused", error.reason)
            raise
        except ModelError as error:
            self._fail(question, reserved, "refused", error.findings[0].message)
            raise
        except BaseException:
            if self._purse is not None:
                self._purse.lost(reserved)
            raise
        self._pacing.speed_up()
        return Reply(answer, time.perf_counter() - started, reserved, slot)

    async def _announced(self, purse: Purse, question: Question, request: ModelRequest, remaining: int) -> Decimal:
        """Set aside what a call may cost and write down that it is going to be made; gives what is set aside.

        Other attempts that look for money nobody needs any more find the intent in the books, unless the lease was over before it
        was written. Then the money may be theirs, and the call is not made.
        """
        while True:
            reserved = await purse.reserve(question.target, request)
            try:
                await self._intents.announce(question.account, remaining)
            except BaseException:
                purse.unpaid(reserved)
                raise
            if purse.still_has(reserved):
                return reserved
            self._intents.withdraw(question.account)
            purse.unpaid(reserved)

    def _fail(self, question: Question, reserved: Decimal, outcome: Literal["refused", "unknown"], reason: str) -> None:
        self._ledger.fail(question.account, outcome, reason)
        if self._purse is not None:
            (self._purse.unpaid if outcome == "refused" else self._purse.lost)(reserved)
