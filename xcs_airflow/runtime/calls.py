"""Asking one question about many rows, from ordinary code: `Caller`, and `answer_many` for who asks once.

It knows sessions; it does not know tasks or stores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xcs_airflow.manifest import CacheRule, ModelCall
from xcs_airflow.runtime.budget import current_purse
from xcs_airflow.runtime.caches import shared_cache
from xcs_airflow.runtime.failures import Failures
from xcs_airflow.runtime.functions import code_on_path
from xcs_airflow.runtime.ledger import current_ledger
from xcs_airflow.runtime.models.provider import Message, override
from xcs_airflow.runtime.question import Question
from xcs_airflow.runtime.recall import deal, recall, tally
from xcs_airflow.runtime.session import Session
from xcs_airflow.runtime.settings import RuntimeSettings
from xcs_airflow.runtime.waiting import wait_for

_FEW = 64


class Caller:
    """Asks a question again and again; what does not change from call to call is worked out once.

    Args:
        call: The request, but for its inputs.
        cache: How answers are remembered; with it, equal requests are asked once. None asks for every row.
        in_flight: How many calls may wait for an answer at a time.
        name: Who asks, for messages and books.
    """

    def __init__(self, call: ModelCall, cache: CacheRule | None, *, in_flight: int = 16, name: str = "llm") -> None:
        self._call = call
        self._rule = cache
        self._in_flight = in_flight
        self._name = name
        self._known: tuple[RuntimeSettings, object, Question] | None = None

    def ask(self, rows: Sequence[Mapping[str, Any]], settings: RuntimeSettings | None = None) -> list[Any]:
        """The answer for every row, in order. It waits; an event loop may run in the calling thread.

        Calls made inside a task are written into the books of that task.

        Args:
            rows: The inputs of each request.
            settings: Where models and the cache are; by default what the environment says.

        Raises:
            ModelError: Some rows have no answer. The others were finished and remembered first.
            ModelUnavailableError: The same, and trying again later may help.
            RuntimeTaskError: A prompt could not be written, or the cache cannot be used.
        """
        settings = settings or RuntimeSettings.from_environment()
        with code_on_path(settings.code):
            question = self._question(settings)
            messages = [question.messages(row) for row in rows]
            answers = _known(question, messages, settings)
            if answers is not None:
                return answers
            answers = wait_for(lambda: self._asked(question, messages, settings))
        failures = Failures()
        failures.count(answers)
        failures.raise_any()
        return answers

    def _question(self, settings: RuntimeSettings) -> Question:
        """The question, the one of the last call when nothing changed that it depends on: settings, and tests that answer."""
        stand_in = override()
        if self._known is not None and self._known[0] is settings and self._known[1] is stand_in:
            return self._known[2]
        question = Question(self._name, self._call, self._rule, settings)
        if not question.runs_code:  # code may be imported anew
            self._known = (settings, stand_in, question)
        return question

    async def _asked(self, question: Question, messages: Sequence[list[Message]], settings: RuntimeSettings) -> list[Any]:
        async with Session(settings, self._in_flight, current_ledger(), purse=current_purse()) as session:
            return await session.answers(question, messages)


def answer_many(
    call: ModelCall,
    rows: Sequence[Mapping[str, Any]],
    *,
    cache: CacheRule | None,
    in_flight: int = 16,
    name: str = "llm",
    settings: RuntimeSettings | None = None,
) -> list[Any]:
    """The answer for every row, in order: `Caller(...).ask(...)` for who asks once; arguments and errors are those."""
    return Caller(call, cache, in_flight=in_flight, name=name).ask(rows, settings)


def _known(question: Question, messages: Sequence[list[Message]], settings: RuntimeSettings) -> list[Any] | None:
    """The answers to a few prompts when the cache has all of them, which takes no event loop; None otherwise."""
    if question.rule is None or len(messages) > _FEW:
        return None
    keys = question.keys(messages, None) or []
    outcomes = recall(shared_cache(settings), question, set(keys))
    if not all(key in outcomes for key in keys):
        return None
    ledger = current_ledger()
    if ledger.is_kept:
        ledger.note(question.account, rows=len(keys), hits=len(keys), duplicates=0)
        ledger.save(question.account, "hits", tally(keys, outcomes, outcomes, ())[0])
    return deal(question, keys, outcomes)
