"""One question about many prompts: calls side by side, alone or in packs.

It knows who works on which prompts; it does not know which prompts need a call, or what a call says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xcs_airflow.runtime.alone import Alone, Safe
from xcs_airflow.runtime.line import Line
from xcs_airflow.runtime.models.provider import Message
from xcs_airflow.runtime.packing import Packing
from xcs_airflow.runtime.question import Question
from xcs_airflow.runtime.recall import Outcome
from xcs_airflow.runtime.waiting import together


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
        self._alone = Alone(line, question, messages, safe)
        self._packing = Packing(line, question, messages, self._alone, safe)
        self._prompts = len(messages)
        self._safe = safe
        self._then = then
        self._lots = [range(start, min(start + question.pack, self._prompts)) for start in range(0, self._prompts, question.pack)]
        self._queue = iter(self._lots)
        self._not_begun = len(self._lots)
        self._outcomes: dict[int, Outcome] = {}

    async def outcomes(self, workers: int, all_begun: Callable[[], None] = lambda: None) -> list[Outcome]:
        """The outcomes, in the order of the prompts.

        Args:
            workers: How many calls are worked on at a time.
            all_begun: Is called when the last prompt is being worked on.
        """
        self._all_begun = all_begun
        try:
            async with together() as group:
                for _ in range(min(workers, len(self._lots))):
                    group.create_task(self._work())
        except BaseException:
            if self._safe is not None:
                await self._safe.keeper.finish()
            raise
        if self._safe is not None:
            await self._safe.keeper.give_again()
        return [self._outcomes[index] for index in range(self._prompts)]

    async def _work(self) -> None:
        for lot in self._queue:
            self._not_begun -= 1
            if not self._not_begun:
                self._all_begun()
            if len(lot) == 1:
                self._land(lot[0], await self._alone.outcome(lot[0], self._not_begun + 1))
            else:
                await self._packing.ask(lot, self._not_begun + 1, self._land)

    def _land(self, index: int, outcome: Outcome) -> None:
        self._outcomes[index] = outcome
        if self._then is not None:
            self._then(index, outcome)
