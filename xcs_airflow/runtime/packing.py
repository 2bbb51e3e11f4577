"""Many prompts in one request: answers go by ids, what is missing is asked again, and what cannot be read is halved.

It knows which items have an answer and how many calls are left; it does not know what a packed request says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from xcs_airflow.errors import ModelError
from xcs_airflow.runtime.alone import Alone, Safe
from xcs_airflow.runtime.answers import MisfitError
from xcs_airflow.runtime.budget import BudgetError
from xcs_airflow.runtime.failures import Failure
from xcs_airflow.runtime.line import Line, Reply, RouteError
from xcs_airflow.runtime.models.provider import Message, ModelAnswer
from xcs_airflow.runtime.packs import entries, ids_of, shares
from xcs_airflow.runtime.question import Question
from xcs_airflow.runtime.recall import Outcome, Understood

Land = Callable[[int, Outcome], None]
"""Is shown every outcome, with the index of its prompt, once it is safe."""


@dataclass(slots=True)
class _Allowance:
    """What may still be called for the items of one pack. There is always a call left for each item without an outcome.

    Attributes:
        calls: Calls that are left.
        items: Items without an outcome.
    """

    calls: int
    items: int

    def spare(self) -> bool:
        """Take one more call, if every item still has one after it."""
        if self.calls <= self.items:
            return False
        self.calls -= 1
        return True


class Packing:
    """Asks for many prompts in one request.

    Nothing depends on the place of an answer: a model that leaves one out would shift all that follow, as was seen in
    DocETL's positional packs (docetl/operations/map.py). An answer with an id that was asked for, once, and that fits, counts. What is
    missing is asked for again, as a smaller pack; a pack of which nothing counts is halved, and a single item goes the way of all
    single items. For N items there are at most 2N answered calls.

    Args:
        line: The way to the model.
        question: What is asked.
        messages: The prompts.
        alone: Asks for what is left over.
        safe: Where answers are remembered; None remembers none.
    """

    def __init__(self, line: Line, question: Question, messages: Sequence[list[Message]], alone: Alone, safe: Safe | None) -> None:
        self._line = line
        self._question = question
        self._messages = messages
        self._alone = alone
        self._safe = safe

    async def ask(self, indexes: Sequence[int], remaining: int, land: Land) -> None:
        """Get an outcome for every prompt.

        Args:
            indexes: Which prompts.
            remaining: How many calls this one and those to come are, at most, if all goes well.
            land: Takes the outcomes.
        """
        left = _Allowance(2 * len(indexes), len(indexes))
        packs = [list(indexes)]
        while packs:
            pack = packs.pop()
            if len(pack) == 1 or not left.spare():
                for index in pack:
                    await self._ask_alone(index, left, land)
                continue
            missing = await self._ask_together(pack, remaining, land)
            remaining = 1
            left.items -= len(pack) - len(missing)
            if len(missing) == len(pack):
                half = len(pack) // 2
                packs += [pack[half:], pack[:half]]
            elif missing:
                packs.append(missing)

    async def _ask_alone(self, index: int, left: _Allowance, land: Land) -> None:
        left.calls -= 1
        left.items -= 1
        land(index, await self._alone.outcome(index, 1, left.spare))

    async def _ask_together(self, pack: list[int], remaining: int, land: Land) -> list[int]:
        """One request. What has an outcome lands; gives what has none."""
        line, question = self._line, self._question
        if line.stopped is not None:
            return _landed(pack, Failure(line.stopped), land)
        ids = ids_of(len(pack))
        request = question.packed_request(ids, [self._messages[index] for index in pack])
        try:
            reply = await line.ask(question, request, remaining)
        except ModelError as error:
            if not (error.retryable or isinstance(error, (RouteError, BudgetError))):
                return pack  # the server refused it as it is; it may be too long, or one of its items not wanted
            line.note(error)
            return _landed(pack, Failure(error), land)
        understood = self._understood(reply.answer, dict(zip(ids, pack, strict=True)))
        if not understood:
            line.settle(question, reply, "discarded")
            return pack
        await self._made_safe(reply, understood)
        line.note(None)
        for index, outcome in understood.items():
            land(index, outcome)
        return [index for index in pack if index not in understood]

    def _understood(self, answer: ModelAnswer, asked: dict[str, int]) -> dict[int, Understood]:
        """The answers that count, by the index of their prompts, each with its share of the tokens."""
        question = self._question
        values: dict[int, tuple[str, object]] = {}
        for name, text in entries(answer, list(asked), is_text=question.is_text).items():
            try:
                values[asked[name]] = text, question.read(ModelAnswer(text))
            except MisfitError:
                continue  # it counts as missing
        if not values:
            return {}
        given = shares(answer.input_tokens, [_size(self._messages[index]) for index in values])
        made = shares(answer.output_tokens, [len(text) for text, _ in values.values()])
        return {
            index: Understood(ModelAnswer(text, input_tokens, output_tokens, model=answer.model), value)
            for (index, (text, value)), input_tokens, output_tokens in zip(values.items(), given, made, strict=True)
        }

    async def _made_safe(self, reply: Reply, understood: dict[int, Understood]) -> None:
        """Remember every answer under its own name, then settle the one call; returns when all is done."""
        question, safe = self._question, self._safe
        settle = partial(self._line.settle, question, reply, "answered")
        if safe is None:
            settle()
            return
        if safe.keeper.is_remote:
            # Where remembering takes about as long as a call, others call meanwhile.
            reply.slot.leave()
        *others, last = understood
        kept = [safe.keeper.keep(safe.keys[index], question.remembered(understood[index].answer), _nothing) for index in others]
        await asyncio.gather(*kept, safe.keeper.keep(safe.keys[last], question.remembered(understood[last].answer), settle))


def _landed(pack: Sequence[int], outcome: Outcome, land: Land) -> list[int]:
    """Nothing is missing any more: everything has this outcome."""
    for index in pack:
        land(index, outcome)
    return []


def _size(messages: Sequence[Message]) -> int:
    return sum(len(message["content"]) for message in messages)


def _nothing() -> None:
    """One call is settled once."""
