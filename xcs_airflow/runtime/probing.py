"""A start that sees whether all is known that a task needs: steps are computed from remembered answers alone, and nobody is called.

It knows what is remembered and what that leaves to be done; it does not know how a call is made.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from types import TracebackType
from typing import Any, Self

from xcs_airflow.errors import NotReadyError
from xcs_airflow.runtime.attempt import Attempt
from xcs_airflow.runtime.caches import cache_at, where_remembered
from xcs_airflow.runtime.models.provider import Message, ModelAnswer, ModelRequest
from xcs_airflow.runtime.models.routes import Target
from xcs_airflow.runtime.question import Question
from xcs_airflow.runtime.recall import Outcome, Tokens, deal, recall, tally
from xcs_airflow.runtime.steps import StepRunner, levels


def probe(parts: Iterable[Attempt], runner_of: Callable[[Attempt], StepRunner]) -> None:
    """Compute what is missing of a task from remembered answers, shard by shard, as far as they go.

    A step whose answers are all there is committed as the task would commit it. At the first window with an answer that is not,
    everything stops; of that step nothing is written.

    Args:
        parts: The start of the task, shard by shard.
        runner_of: Gives what computes the steps of a shard; models are to be asked through `Remembered`.

    Raises:
        NotReadyError: Not everything is known (XCS740).
    """
    attempts = list(parts)
    for part in attempts:
        for step in part.missing:
            if step.call is None:
                raise _not_known(part, f"{step.id} runs {step.func}, whose results nobody remembers")
    for part in attempts:
        runner = runner_of(part)
        for level in levels(part.missing):
            runner.run(level)


@dataclass
class _Given:
    """What one question was given, for the books.

    Attributes:
        rows: How many answers.
        saved: Of these, how many of how many tokens.
    """

    rows: int = 0
    saved: Counter[Tokens] = field(default_factory=Counter)


class Remembered:
    """Answers steps as a `Session` does, with what is remembered and nothing else.

    The books have what a question was given only if it was given everything: else whoever asks it again, calls included, writes
    all of it down.

    Args:
        this: The start that probes.
    """

    def __init__(self, this: Attempt) -> None:
        self._this = this
        self._given: dict[Question, _Given] = {}
        self._lack: NotReadyError | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        ledger = self._this.ledger
        for question, given in self._given.items():
            ledger.note(question.account, rows=given.rows, hits=given.rows, duplicates=0, shape=question.shape, pack=question.pack)
            ledger.save(question.account, "hits", given.saved)

    def is_stopped(self, question: Question) -> bool:  # noqa: ARG002  # a question that goes on is told so by `answers`
        """Whether further windows make no sense; never, because a step that is stopped in silence would be committed."""
        return False

    async def answers(self, question: Question, messages: Sequence[list[Message]], rows: Sequence[str]) -> list[Any]:
        """The value for every prompt, in order.

        Args:
            question: What is asked.
            messages: The prompt of every row.
            rows: The items' keys.

        Raises:
            NotReadyError: An answer is not remembered, or one of an earlier window was not (XCS740).
            RuntimeTaskError: The cache does not answer.
        """
        if self._lack is None:
            keys = question.keys(messages, rows) or []
            outcomes = await asyncio.to_thread(self._recalled, question, keys, messages, rows)
            missing = sum(key not in outcomes for key in keys)
            if not missing and self._lack is None:  # another window may have missed meanwhile
                given = self._given.setdefault(question, _Given())
                given.rows += len(keys)
                given.saved += tally(keys, outcomes, outcomes, ())[0]
                return deal(question, keys, outcomes)
            reason = f"{missing} of {len(keys)} answers that {question.name} asks {question.model} for are not remembered"
            self._lack = self._lack or _not_known(self._this, reason)
        self._given.pop(question, None)
        raise self._lack

    def _recalled(
        self, question: Question, keys: Sequence[str], messages: Sequence[list[Message]], rows: Sequence[str]
    ) -> dict[str, Outcome]:
        """What the cache has that the task would ask first."""
        this = self._this
        alone = dict(zip(keys, question.keys_alone(messages, rows) or [], strict=True)) if question.is_packed else None
        cache = cache_at(where_remembered(question.rule, this.settings, this.memory), this.settings)
        return recall(cache, question, dict.fromkeys(keys), alone)


class NothingToSpend:
    """The purse of a start that must not call anybody, not even from a function that writes prompts.

    Args:
        this: The start that probes.
    """

    def __init__(self, this: Attempt) -> None:
        self._this = this

    async def reserve(self, target: Target, request: ModelRequest) -> Decimal:  # noqa: ARG002  # whatever it costs
        """Refuse.

        Raises:
            NotReadyError: Always (XCS740).
        """
        raise _not_known(self._this, f"a function that writes prompts asks {target.model}")

    def still_has(self, reserved: Decimal) -> bool:  # noqa: ARG002  # the same
        """Nothing was set aside."""
        return False

    def paid(self, reserved: Decimal, target: Target, answer: ModelAnswer) -> None:
        """Nothing is."""

    def unpaid(self, reserved: Decimal) -> None:
        """Nothing was set aside."""

    def lost(self, reserved: Decimal) -> None:
        """Nothing was set aside."""

    async def hold(self, name: str, target: Target, requests: Iterable[ModelRequest]) -> Decimal:  # noqa: ARG002  # the same
        """Refuse, as `reserve` does."""
        return await self.reserve(target, next(iter(requests)))

    async def release(self, name: str, spent_usd: Decimal | None) -> None:
        """Nothing is held."""

    def close(self) -> None:
        """Nothing is to be given back."""


def _not_known(this: Attempt, reason: str) -> NotReadyError:
    return NotReadyError.because("XCS740", name=this.owner.id, reason=reason)
