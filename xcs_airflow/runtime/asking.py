"""One question about many prompts: calls side by side, each asked again when its answer does not fit.

It knows calls and answers; it does not know which prompts need a call, or how answers are made safe.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from xcs_airflow.errors import ModelError
from xcs_airflow.runtime.answers import MisfitError
from xcs_airflow.runtime.failures import Failure
from xcs_airflow.runtime.keeping import Keeper
from xcs_airflow.runtime.line import Line, Reply
from xcs_airflow.runtime.models.provider import Message
from xcs_airflow.runtime.question import Question
from xcs_airflow.runtime.recall import Outcome, Understood
from xcs_airflow.runtime.waiting import together


class Safe(NamedTuple):
    """Where answers survive the end of this process.

    Attributes:
        keeper: What makes them safe.
        keys: The names of the answers, in the order of the prompts.
    """

    keeper: Keeper
    keys: Sequence[str]


class Asking:
    """Asks one question about many prompts.

    Args:
        line: The way to the model.
        question: What is asked.
        messages: The prompts.
        safe: Where answers are remembered; None remembers none.
        then: Is shown every outcome, with the index of its prompt, as soon as it is safe.
    """

    def __init__(
        self,
        line: Line,
        question: Question,
        messages: Sequence[list[Message]],
        safe: Safe | None = None,
        then: Callable[[int, Outcome], None] | None = None,
    ) -> None:
        self._line = line
        self._question = question
        self._messages = messages
        self._safe = safe
        self._then = then
        self._queue = iter(range(len(messages)))
        self._not_begun = len(messages)
        self._outcomes: dict[int, Outcome] = {}

    async def outcomes(self, workers: int) -> list[Outcome]:
        """The outcomes, in the order of the prompts.

        Args:
            workers: How many prompts are worked on at a time.
        """
        try:
            async with together() as group:
                for _ in range(min(workers, len(self._messages))):
                    group.create_task(self._work())
        except BaseException:
            if self._safe is not None:
                await self._safe.keeper.finish()
            raise
        if self._safe is not None:
            await self._safe.keeper.give_again()
        return [self._outcomes[index] for index in range(len(self._messages))]

    async def _work(self) -> None:
        for index in self._queue:
            self._not_begun -= 1
            outcome = self._outcomes[index] = await self._outcome(index)
            if self._then is not None:
                self._then(index, outcome)

    async def _outcome(self, index: int) -> Outcome:
        """One answer, made safe; what goes wrong concerns this prompt alone."""
        line = self._line
        if line.stopped is not None:
            return Failure(line.stopped)
        try:
            reply, understood = await self._understood(self._messages[index])
        except ModelError as error:
            line.note(error)
            return Failure(error)
        rule = self._question.rule
        if self._safe is not None and (rule is None or self._question.is_worth_keeping(understood.answer)):
            await self._made_safe(self._safe, index, reply)
        else:
            line.settle(self._question, reply, "answered")
        line.note(None)
        return understood

    async def _understood(self, messages: list[Message]) -> tuple[Reply, Understood]:
        """An answer that fits, asked for once more when the first does not."""
        line, question = self._line, self._question
        reply = await line.ask(question, question.request(messages), self._not_begun + 1)
        try:
            return reply, Understood(reply.answer, question.read(reply.answer))
        except MisfitError as misfit:
            line.settle(question, reply, "discarded")
            again = question.again(messages, reply.answer, misfit)
        except BaseException:
            line.settle(question, reply, "discarded")
            raise
        reply = await line.ask(question, question.request(again), 1)
        try:
            return reply, Understood(reply.answer, question.read_again(reply.answer))
        except BaseException:
            line.settle(question, reply, "discarded")
            raise

    async def _made_safe(self, safe: Safe, index: int, reply: Reply) -> None:
        """Remember an answer and settle its call; returns when both are done."""
        if safe.keeper.is_remote:
            # Where remembering takes about as long as a call, others call meanwhile.
            reply.slot.leave()
        question = self._question
        await safe.keeper.keep(safe.keys[index], question.remembered(reply.answer), partial(self._line.settle, question, reply, "answered"))
