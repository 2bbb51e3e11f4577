"""Answers for rows: what the cache has, what equal requests share, and calls for the rest, within one limit of calls in flight.

It knows rows and keys; it does not know tasks or stores. One session belongs to one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from xcs_airflow.errors import ModelError, ModelUnavailableError
from xcs_airflow.manifest import CacheRule
from xcs_airflow.runtime import flights
from xcs_airflow.runtime.answers import MisfitError
from xcs_airflow.runtime.cache import open_cache
from xcs_airflow.runtime.failures import Failure
from xcs_airflow.runtime.keeper import Keeper
from xcs_airflow.runtime.ledger import Ledger
from xcs_airflow.runtime.line import Line
from xcs_airflow.runtime.models.provider import Message
from xcs_airflow.runtime.models.routes import Target, provider_for
from xcs_airflow.runtime.pacing import Pacing
from xcs_airflow.runtime.question import Question
from xcs_airflow.runtime.recall import Outcome, Understood, deal, recall
from xcs_airflow.runtime.settings import RuntimeSettings
from xcs_airflow.runtime.waiting import together


class Session:
    """Asks models for the steps of one task, or for one `answer_many`.

    Args:
        settings: Where models and the cache are.
        in_flight: How many calls may wait for an answer at a time, whatever the model.
        ledger: Where every call is written down.
    """

    def __init__(self, settings: RuntimeSettings, in_flight: int, ledger: Ledger) -> None:
        self._in_flight = in_flight
        self._ledger = ledger
        self._place = settings.cache_address
        self._cache = open_cache(self._place)
        self._slots = asyncio.Semaphore(in_flight)
        self._lines: dict[Target, Line] = {}
        self._opening = asyncio.Lock()
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for line in self._lines.values():
            line.close()
        await self._open.aclose()

    def is_stopped(self, question: Question) -> bool:
        """Whether further calls make no sense, as after a wrong key."""
        line = self._lines.get(question.target)
        return line is not None and line.stopped is not None

    async def answers(self, question: Question, messages: Sequence[list[Message]]) -> list[Any]:
        """The value for every prompt, in order; a `Failure` where there is none.

        Raises:
            ModelError: No call can be made at all, as when the key is not set.
            RuntimeTaskError: The cache does not answer.
        """
        if question.rule is None:
            self._ledger.note(question.name, question.model, rows=len(messages), hits=0, duplicates=0)
            asked = await self._ask_all(question, messages)
            return [outcome if isinstance(outcome, Failure) else outcome.value for outcome in asked]
        return await self._remembered(question, messages, question.rule)

    async def _remembered(self, question: Question, messages: Sequence[list[Message]], rule: CacheRule) -> list[Any]:
        """Answers through the cache. Keys are claimed before the cache is asked, so that nobody asks between the two."""
        keys = [question.key(message) for message in messages]
        by_key = dict(zip(keys, messages, strict=True))
        own, others = flights.claim(self._place, by_key)
        keeper = Keeper(self._cache)
        try:
            outcomes = await asyncio.to_thread(recall, self._cache, question, own, rule)
            for key, outcome in outcomes.items():
                flights.land(self._place, key, outcome)
            missing = [key for key in own if key not in outcomes]
            hits = sum(key in outcomes for key in keys)
            self._ledger.note(question.name, question.model, rows=len(keys), hits=hits, duplicates=len(keys) - hits - len(missing))

            def keep(index: int, outcome: Outcome) -> None:
                outcomes[missing[index]] = outcome
                flights.land(self._place, missing[index], outcome)
                if isinstance(outcome, Understood) and question.is_worth_keeping(outcome.answer):
                    keeper.keep(missing[index], outcome.answer)

            await self._ask_all(question, [by_key[key] for key in missing], keep)
        finally:
            await keeper.close()
            flights.end(self._place, own, _abandoned(question))
        for key, flight in others.items():
            outcomes[key] = await asyncio.wrap_future(flight)
        return deal(question, keys, outcomes, others)

    async def _ask_all(
        self, question: Question, messages: Sequence[list[Message]], then: Callable[[int, Outcome], None] | None = None
    ) -> list[Outcome]:
        """Ask for every prompt, as many at a time as there are calls in flight; outcomes in order, each shown to `then` at once."""
        if not messages:
            return []
        line = await self._line(question.target)
        outcomes: dict[int, Outcome] = {}
        queue = iter(range(len(messages)))

        async def work() -> None:
            for index in queue:
                outcomes[index] = await _ask(line, question, messages[index], len(messages) - index)
                if then is not None:
                    then(index, outcomes[index])

        async with together() as group:
            for _ in range(min(self._in_flight, len(messages))):
                group.create_task(work())
        return [outcomes[index] for index in range(len(messages))]

    async def _line(self, target: Target) -> Line:
        async with self._opening:
            if target not in self._lines:
                in_flight = min(self._in_flight, target.route.max_in_flight or self._in_flight)
                provider = await self._open.enter_async_context(provider_for(target, in_flight))
                pacing = Pacing(in_flight, target.route.requests_per_minute)
                self._lines[target] = Line(provider, pacing, self._slots, self._ledger)
            return self._lines[target]


async def _ask(line: Line, question: Question, messages: list[Message], remaining: int) -> Outcome:
    """One answer, asked for once more when it does not fit; what goes wrong concerns this row alone."""
    if line.stopped is not None:
        return Failure(line.stopped)
    try:
        answer = await line.ask(question, question.request(messages), remaining)
        try:
            understood = Understood(answer, question.read(answer))
        except MisfitError as misfit:
            answer = await line.ask(question, question.request(question.again(messages, answer, misfit)), 1)
            understood = Understood(answer, question.read_again(answer))
    except ModelError as error:
        line.note(error)
        return Failure(error)
    line.note(None)
    return understood


def _abandoned(question: Question) -> Failure:
    reason = "whoever asked for the same was stopped"
    return Failure(ModelUnavailableError.because("XCS703", operation=question.name, model=question.model, attempts=0, reason=reason))
