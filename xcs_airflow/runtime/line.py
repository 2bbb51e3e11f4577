"""The way to one model: its provider, its pace, when to try again and when to give up.

It knows attempts and their failures; it does not know rows or caches.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections import Counter

from xcs_airflow.errors import ModelError, ModelUnavailableError
from xcs_airflow.runtime.ledger import Ledger
from xcs_airflow.runtime.models.provider import AttemptError, ModelAnswer, ModelRequest, Provider
from xcs_airflow.runtime.pacing import Pacing, backoff_s
from xcs_airflow.runtime.question import Question

_LONGEST_WAIT_S = 120.0
"""A provider that asks for more patience gets the task back later: a waiting container costs money too."""

_UNAVAILABLE_IN_A_ROW = 3
_FAILED_WITHOUT_ONE_SUCCESS = 50


class RouteError(ModelError):
    """A refusal that every other request would meet as well, as for a wrong key."""


class Line:
    """The way to one model, shared by all who ask it.

    Attributes:
        stopped: Why no further call should be made; None as long as there is hope.

    Args:
        provider: Who answers.
        pacing: How fast.
        slots: The calls in flight of the whole task.
        ledger: Where every call is written down.
    """

    def __init__(self, provider: Provider, pacing: Pacing, slots: asyncio.Semaphore, ledger: Ledger) -> None:
        self.stopped: ModelError | None = None
        self._provider = provider
        self._pacing = pacing
        self._slots = slots
        self._ledger = ledger
        self._failed_in_a_row = 0
        self._calls_per_intent = ledger.calls_per_intent
        self._writing = asyncio.Lock()
        self._reserved: Counter[Question] = Counter()

    async def ask(self, question: Question, request: ModelRequest, remaining: int) -> ModelAnswer:
        """Get an answer, trying again where that may help.

        Args:
            question: Who asks.
            request: The complete request.
            remaining: How many calls this one and those to come are, at most.

        Raises:
            ModelError: The request was refused (XCS702).
            ModelUnavailableError: There was no answer after all attempts (XCS703).
        """
        failed = 0
        while True:
            began = await self._pacing.enter()
            answered = self._pacing.answered
            try:
                async with self._slots:
                    return await self._attempt(question, request, remaining)
            except AttemptError as error:
                # Being told to slow down is no failure as long as others get through.
                failed += not (error.is_limit and self._pacing.answered > answered)
                wait_s = error.retry_after_s if error.retry_after_s is not None else backoff_s(failed + 1)
                self._give_up(question, error, failed, wait_s)
                if question.target.is_stand_in:
                    wait_s = 0
                if error.is_limit:
                    self._pacing.slow_down(began, wait_s)
                    wait_s = 0
            finally:
                self._pacing.leave()
            await asyncio.sleep(wait_s)

    def note(self, error: ModelError | None) -> None:
        """Learn how a call ended, and whether further ones make sense."""
        if error is None:
            self._failed_in_a_row = 0
            return
        self._failed_in_a_row += 1
        is_down = error.retryable and self._failed_in_a_row >= _UNAVAILABLE_IN_A_ROW
        is_hopeless = not self._pacing.answered and self._failed_in_a_row >= _FAILED_WITHOUT_ONE_SUCCESS
        if isinstance(error, RouteError) or is_down or is_hopeless:
            self.stopped = self.stopped or error

    def close(self) -> None:
        """Write down which intended calls were not made."""
        for question, calls in self._reserved.items():
            self._ledger.give_back(question.name, question.model, calls)
        self._reserved.clear()

    def _give_up(self, question: Question, error: AttemptError, failed: int, wait_s: float) -> None:
        """Raise what a failed attempt means, unless there is a reason to try again."""
        who = {"operation": question.name, "model": question.model, "reason": error.reason}
        if error.blame != "busy":
            refusal = RouteError if error.blame == "route" else ModelError
            raise refusal.because("XCS702", **who) from None
        if failed >= question.attempts or wait_s > _LONGEST_WAIT_S or self.stopped is not None:
            raise ModelUnavailableError.because("XCS703", attempts=failed, **who) from None

    async def _attempt(self, question: Question, request: ModelRequest, remaining: int) -> ModelAnswer:
        await self._intend(question, remaining)
        started = time.perf_counter()
        try:
            answer = self._provider.complete(request)
            if inspect.isawaitable(answer):
                answer = await answer
        except AttemptError as error:
            self._ledger.fail(question.name, question.model, "unknown" if error.may_be_billed else "refused", error.reason)
            raise
        except ModelError as error:
            self._ledger.fail(question.name, question.model, "refused", error.findings[0].message)
            raise
        self._pacing.speed_up()
        route = question.target.route
        billed_as = question.target.answered_by if route.billing == "list" else None
        self._ledger.settle(question.name, question.model, billed_as, answer, time.perf_counter() - started)
        return answer

    async def _intend(self, question: Question, remaining: int) -> None:
        if self._calls_per_intent == 1:
            self._ledger.intend(question.name, question.model, 1)
            return
        async with self._writing:
            if not self._reserved[question]:
                calls = max(1, min(self._calls_per_intent, remaining))
                self._ledger.intend(question.name, question.model, calls)
                await asyncio.to_thread(self._ledger.flush)
                self._reserved[question] = calls
            self._reserved[question] -= 1
