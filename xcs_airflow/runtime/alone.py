"""One prompt in a request of its own: asked again when the answer does not fit, and made safe before it counts.

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


class Safe(NamedTuple):
    """Where answers survive the end of this process.

    Attributes:
        keeper: What makes them safe.
        keys: The names of the answers, in the order of the prompts.
        keys_alone: The names of answers to requests for one prompt alone; those of `keys` unless prompts are packed.
    """

    keeper: Keeper
    keys: Sequence[str]
    keys_alone: Sequence[str]


class Alone:
    """Asks for one prompt at a time.

    Args:
        line: The way to the model.
        question: What is asked.
        messages: The prompts.
        safe: Where answers are remembered; None remembers none.
    """

    def __init__(self, line: Line, question: Question, messages: Sequence[list[Message]], safe: Safe | None) -> None:
        self._line = line
        self._question = question
        self._messages = messages
        self._safe = safe

    async def outcome(self, index: int, remaining: int, may_ask_again: Callable[[], bool] = lambda: True) -> Outcome:
        """One answer, made safe; what goes wrong concerns this prompt alone.

        Args:
            index: Which prompt.
            remaining: How many calls this one and those to come are, at most.
            may_ask_again: Says, once, whether there may be a second call when the first answer does not fit.
        """
        line = self._line
        if line.stopped is not None:
            return Failure(line.stopped)
        try:
            reply, understood = await self._understood(self._messages[index], remaining, may_ask_again)
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

    async def _understood(self, messages: list[Message], remaining: int, may_ask_again: Callable[[], bool]) -> tuple[Reply, Understood]:
        """An answer that fits, asked for once more when the first does not."""
        line, question = self._line, self._question
        reply = await line.ask(question, question.request(messages), remaining)
        try:
            return reply, Understood(reply.answer, question.read(reply.answer))
        except MisfitError as misfit:
            line.settle(question, reply, "discarded")
            if not may_ask_again():
                raise question.misfit(reply.answer, misfit) from None
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
        settle = partial(self._line.settle, question, reply, "answered")
        await safe.keeper.keep(safe.keys_alone[index], question.remembered(reply.answer), settle)
