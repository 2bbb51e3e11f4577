"""One question about many prompts: calls side by side, and answers made safe a group at a time before they count as settled.

It knows calls, answers and when to write; it does not know which prompts need a call.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

from xcs_airflow.errors import ModelError, XcsError
from xcs_airflow.runtime.answers import MisfitError
from xcs_airflow.runtime.cache import Cache, CachedAnswer
from xcs_airflow.runtime.failures import Failure
from xcs_airflow.runtime.line import Line, Reply
from xcs_airflow.runtime.models.provider import Message
from xcs_airflow.runtime.question import Question
from xcs_airflow.runtime.recall import Outcome, Understood
from xcs_airflow.runtime.waiting import together

_LOG = logging.getLogger("xcs_airflow.runtime")


class Safe(NamedTuple):
    """Where answers survive the end of this process.

    Attributes:
        cache: What remembers them.
        keys: The names of the answers, in the order of the prompts.
    """

    cache: Cache
    keys: Sequence[str]


class _Arrived(NamedTuple):
    """An answer that is not safe yet, and whoever waits until it is."""

    row: int
    reply: Reply
    safe: asyncio.Future[None]


class Asking:
    """Asks one question about many prompts.

    An answer counts once it survives the end of this process: those that arrive while a group is being written are the next
    group (a group commit).

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
        self._arrived: list[_Arrived] = []
        self._writer: asyncio.Task[None] | None = None
        self._group = 1
        self._owed: dict[str, CachedAnswer] = {}

    async def outcomes(self, workers: int) -> list[Outcome]:
        """The outcomes, in the order of the prompts.

        Args:
            workers: How many prompts are worked on at a time.
        """
        self._group = max(1, workers // 2)
        try:
            async with together() as group:
                for _ in range(min(workers, len(self._messages))):
                    group.create_task(self._work())
        finally:
            # Whatever went wrong, what was paid for is remembered.
            if self._writer is not None:
                await self._writer
            if self._owed:
                await asyncio.to_thread(self._remember, ())
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
            await self._made_safe(index, reply)
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

    async def _made_safe(self, index: int, reply: Reply) -> None:
        """Remember an answer and settle its call; returns when both are done."""
        if self._safe is not None and self._safe.cache.is_remote:
            # Where remembering takes about as long as a call, others call meanwhile.
            reply.slot.leave()
        safe = asyncio.get_running_loop().create_future()
        self._arrived.append(_Arrived(index, reply, safe))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())
        await safe

    async def _write(self) -> None:
        try:
            while self._arrived:
                await self._more_arrive()
                group, self._arrived = self._arrived, []
                try:
                    await self._keep(group)
                except Exception as error:  # noqa: BLE001  # whoever waits for one of these answers raises it
                    for arrived in group:
                        if not arrived.safe.done():
                            arrived.safe.set_exception(error)
        finally:
            self._writer = None

    async def _keep(self, group: Sequence[_Arrived]) -> None:
        """Remember a group of answers and settle their calls."""
        try:
            # What takes less time than handing it to a thread is done here.
            if self._safe is not None and self._safe.cache.is_remote:
                await asyncio.to_thread(self._remember, group)
            else:
                self._remember(group)
        finally:
            for arrived in group:
                self._line.settle(self._question, arrived.reply, "answered")
            self._line.settled()
        for arrived in group:
            if not arrived.safe.done():
                arrived.safe.set_result(None)

    async def _more_arrive(self) -> None:
        """Let answers that are here, but were not read yet, join the group: half of all that can come at most, so that calls go on."""
        seen = 0
        while seen < len(self._arrived) < self._group:
            seen = len(self._arrived)
            await asyncio.sleep(0)

    def _remember(self, group: Sequence[_Arrived]) -> None:
        """Give answers to the cache. If it does not take them, work goes on, and the next group has them, too."""
        if self._safe is None:
            return
        cache, keys = self._safe
        answers = self._owed | {keys[row]: self._question.remembered(reply.answer) for row, reply, _ in group}
        try:
            cache.put_many(answers)
            self._owed = {}
        except XcsError as error:
            self._owed = answers
            _LOG.warning("%d answers could not be remembered: %s", len(answers), error)
