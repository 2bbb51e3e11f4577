"""Answers for rows: what caches have, what equal requests share, and calls for the rest, within one limit of calls in flight.

It knows rows and keys; it does not know tasks or stores. One session belongs to one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self, TypeVar, TypeVarTuple

from xcs_airflow.errors import ModelUnavailableError
from xcs_airflow.runtime import flights
from xcs_airflow.runtime.alone import Safe
from xcs_airflow.runtime.asking import Asking
from xcs_airflow.runtime.budget import Purse
from xcs_airflow.runtime.cache import Cache, Claims
from xcs_airflow.runtime.caches import cache_at, where_remembered
from xcs_airflow.runtime.failures import Failure
from xcs_airflow.runtime.keeping import Keeper
from xcs_airflow.runtime.ledger import Ledger
from xcs_airflow.runtime.line import Line
from xcs_airflow.runtime.models.provider import Message
from xcs_airflow.runtime.models.routes import Target, provider_for
from xcs_airflow.runtime.pacing import Pacing
from xcs_airflow.runtime.question import Question
from xcs_airflow.runtime.recall import Outcome, deal, recall, tally
from xcs_airflow.runtime.settings import RuntimeSettings
from xcs_airflow.runtime.slots import Slots

_Result = TypeVar("_Result")
_Arguments = TypeVarTuple("_Arguments")

_FIRST_LOOK_S = 0.02
_LONGEST_LOOK_S = 1.0


class Batched(Protocol):
    """What batches brought, for a session that takes answers in and calls nobody for them."""

    def is_batched(self, question: Question) -> bool:
        """Whether nobody is to be called for a question."""

    def takes(self, question: Question, key: str) -> bool:
        """Whether an answer came with a batch and is dealt out for the first time."""

    def failure(self, question: Question, key: str) -> Failure:
        """Why there is no answer."""


class _Place(NamedTuple):
    """Where the answers to a question are remembered.

    Attributes:
        address: Of the cache.
        cache: Itself.
        alone: For questions that are asked in packs: by key, the name of the answer to the same prompt asked alone.
    """

    address: str
    cache: Cache
    alone: dict[str, str]


class Session:
    """Asks models for the steps of one task, or for one `answer_many`.

    Args:
        settings: Where models and the cache are.
        in_flight: How many calls may wait for an answer at a time, whatever the model.
        ledger: Where every call is written down.
        memory: Address of a cache for this run alone; it keeps answers that no other run may take, so that a task that is
            started again does not pay for them twice. None outside of a task.
        purse: What calls may cost; None means no limit.
        batched: What batches brought: what they were asked is not asked again, and a failure where it is not remembered.
    """

    def __init__(
        self,
        settings: RuntimeSettings,
        in_flight: int,
        ledger: Ledger,
        *,
        memory: str | None = None,
        purse: Purse | None = None,
        batched: Batched | None = None,
    ) -> None:
        self._settings = settings
        self._in_flight = in_flight
        self._ledger = ledger
        self._memory = memory
        self._purse = purse
        self._batched = batched
        self._slots = Slots(in_flight)
        self._lines: dict[Target, Line] = {}
        self._claims: dict[Cache, Claims] = {}
        self._keepers: dict[str, Keeper] = {}
        self._begun: dict[Question, asyncio.Event] = {}
        self._opening = asyncio.Lock()
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for line in self._lines.values():
            line.close()
        try:
            for cache, claims in self._claims.items():
                await _through(cache, claims.close)
        finally:
            await self._open.aclose()

    def is_stopped(self, question: Question) -> bool:
        """Whether further calls make no sense, as after a wrong key."""
        line = self._lines.get(question.target)
        return line is not None and line.stopped is not None

    async def answers(self, question: Question, messages: Sequence[list[Message]], rows: Sequence[str] | None = None) -> list[Any]:
        """The value for every prompt, in order; a `Failure` where there is none.

        Args:
            question: What is asked.
            messages: The prompt of every row.
            rows: The items' keys, for answers that are remembered for this run alone.

        Raises:
            ModelError: No call can be made at all, as when the key is not set.
            RuntimeTaskError: The cache does not answer.
        """
        keys = question.keys(messages, rows if self._memory is not None else None)
        if keys is not None:
            alone = question.keys_alone(messages, rows) or [] if question.is_packed else []
            return await self._remembered(question, messages, keys, dict(zip(keys, alone, strict=False)))
        self._ledger.note(question.account, rows=len(messages), hits=0, duplicates=0, shape=question.shape, pack=question.pack)
        asking = Asking(await self._line(question.target), question, messages)
        asked = await self._in_turn(question, asking, self._in_flight)
        return [outcome if isinstance(outcome, Failure) else outcome.value for outcome in asked]

    def _place(self, question: Question, alone: dict[str, str]) -> _Place:
        address = where_remembered(question.rule, self._settings, self._memory)
        return _Place(address, cache_at(address, self._settings), alone)

    async def _remembered(
        self, question: Question, messages: Sequence[list[Message]], keys: Sequence[str], alone: dict[str, str]
    ) -> list[Any]:
        """Answers through a cache. Keys are claimed before the cache is asked, so that nobody asks between the two."""
        place = self._place(question, alone)
        by_key = dict(zip(keys, messages, strict=True))
        flight, own, others = flights.claim(place.address, by_key)
        shared = set(others)
        batched = self._batched_for(question)
        try:
            if batched is None:
                outcomes = await _through(place.cache, recall, place.cache, question, own, place.alone)
            else:
                outcomes = await asyncio.to_thread(self._batched_before, place, question, own)
            recalled = {key for key in outcomes if batched is None or not batched.takes(question, key)}
            for key, outcome in outcomes.items():
                flight.land(key, outcome)
            missing = [key for key in own if key not in outcomes]
            hits = sum(key in recalled for key in keys)
            called = len(own) - len(recalled)
            shared_within = len(keys) - hits - called
            self._ledger.note(
                question.account, rows=len(keys), hits=hits, duplicates=shared_within, shape=question.shape, pack=question.pack
            )

            def land(key: str, outcome: Outcome) -> None:
                outcomes[key] = outcome
                flight.land(key, outcome)

            if missing and batched is None:
                shared |= await self._ask_missing(question, place, {key: by_key[key] for key in missing}, land)
            for key in missing:
                if batched is not None:
                    land(key, batched.failure(question, key))
        finally:
            flights.end(place.address, flight, own, _abandoned(question))
        for key, result in others.items():
            # Most landed while the first was waited for, and a future of another thread wakes the loop even when it is done.
            outcomes[key] = result.result() if result.done() else await asyncio.wrap_future(result)
        saved_by_hits, saved_by_duplicates = tally(keys, outcomes, recalled, shared)
        self._ledger.save(question.account, "hits", saved_by_hits)
        self._ledger.save(question.account, "duplicates", saved_by_duplicates)
        return deal(question, keys, outcomes, others)

    def _batched_before(self, place: _Place, question: Question, keys: Sequence[str]) -> dict[str, Outcome]:
        """What the cache has and what this run has been told otherwise, for a question that nobody is called for."""
        found = recall(place.cache, question, keys, place.alone)
        if self._memory is not None and len(found) < len(keys):
            rest = [key for key in keys if key not in found]
            found |= recall(cache_at(self._memory, self._settings), question, rest)
        return found

    def _batched_for(self, question: Question) -> Batched | None:
        return self._batched if self._batched is not None and self._batched.is_batched(question) else None

    async def _ask_missing(
        self, question: Question, place: _Place, missing: dict[str, list[Message]], land: Callable[[str, Outcome], None]
    ) -> set[str]:
        """Ask for what no other process asks for, and wait for what others do.

        Returns:
            The keys whose answers others paid for.
        """
        claims = self._claims_in(place)
        from_others: set[str] = set()
        pause_s = _FIRST_LOOK_S
        while missing:
            taken, found = await _through(place.cache, _claimed, claims, place, question, list(missing))
            for key, outcome in found.items():
                land(key, outcome)
                del missing[key]
            from_others |= found.keys()
            mine = {key: missing.pop(key) for key in list(missing) if key in taken}
            try:
                await self._ask_and_keep(question, place, mine, land)
            finally:
                await _through(place.cache, claims.release, taken)
            if missing:
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, _LONGEST_LOOK_S)
        if from_others:
            self._ledger.note(question.account, rows=0, hits=0, duplicates=len(from_others))
        return from_others

    async def _ask_and_keep(
        self, question: Question, place: _Place, prompts: dict[str, list[Message]], land: Callable[[str, Outcome], None]
    ) -> None:
        if not prompts:
            return
        # What begins alike is asked one after the other, so that a provider's prompt cache still has the beginning.
        keys = sorted(prompts, key=lambda key: [message["content"] for message in prompts[key]])
        line = await self._line(question.target)
        safe = Safe(self._keeper(place), keys, [place.alone.get(key, key) for key in keys])
        asking = Asking(line, question, [prompts[key] for key in keys], safe, lambda row, outcome: land(keys[row], outcome))
        # Remembering in a remote cache takes a worker, but no place of a call.
        await self._in_turn(question, asking, self._in_flight * (2 if place.cache.is_remote else 1))

    async def _in_turn(self, question: Question, asking: Asking, workers: int) -> list[Outcome]:
        """The outcomes for one window of a question, which begins when the one before waits for answers only.

        Side by side, twice as many workers as there are places would wait for one before every call.
        """
        before, begun = self._begun.get(question), asyncio.Event()
        self._begun[question] = begun
        try:
            if before is not None:
                await before.wait()
            return await asking.outcomes(workers, begun.set)
        finally:
            begun.set()

    def _keeper(self, place: _Place) -> Keeper:
        if place.address not in self._keepers:
            self._keepers[place.address] = Keeper(place.cache, self._ledger, self._in_flight)
        return self._keepers[place.address]

    def _claims_in(self, place: _Place) -> Claims:
        if place.cache not in self._claims:
            self._claims[place.cache] = place.cache.claims()
        return self._claims[place.cache]

    async def _line(self, target: Target) -> Line:
        async with self._opening:
            if target not in self._lines:
                in_flight = min(self._in_flight, target.route.max_in_flight or self._in_flight)
                provider = await self._open.enter_async_context(provider_for(target, in_flight))
                pacing = Pacing(in_flight, target.route.requests_per_minute, target.route.tokens_per_minute)
                self._lines[target] = Line(provider, pacing, self._slots, self._ledger, self._purse)
            return self._lines[target]


async def _through(cache: Cache, work: Callable[[*_Arguments], _Result], *arguments: *_Arguments) -> _Result:
    """What work on a cache gives. Where it takes less time than handing it to a thread on a busy machine, it is done here."""
    return await asyncio.to_thread(work, *arguments) if cache.is_remote else work(*arguments)


def _claimed(claims: Claims, place: _Place, question: Question, missing: Sequence[str]) -> tuple[set[str], dict[str, Outcome]]:
    """The keys that nobody else asks for, and what somebody answered between the first look and the claim."""
    taken = claims.take(missing)
    if taken:
        for recipe in question.recipes:
            place.cache.note_recipe(recipe)
    return taken, recall(place.cache, question, missing, place.alone)


def _abandoned(question: Question) -> Failure:
    reason = "whoever asked for the same was stopped"
    return Failure(ModelUnavailableError.because("XCS703", operation=question.name, model=question.model, attempts=0, reason=reason))
