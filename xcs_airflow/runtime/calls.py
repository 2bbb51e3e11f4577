"""Asking one question about many rows, from ordinary code: `answer_many`.

It knows sessions; it does not know tasks or stores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xcs_airflow.manifest import CacheRule, ModelCall
from xcs_airflow.runtime.cache import open_cache
from xcs_airflow.runtime.failures import Failures
from xcs_airflow.runtime.functions import code_on_path
from xcs_airflow.runtime.ledger import current_ledger
from xcs_airflow.runtime.models.provider import Message
from xcs_airflow.runtime.question import Question
from xcs_airflow.runtime.recall import deal, recall
from xcs_airflow.runtime.session import Session
from xcs_airflow.runtime.settings import RuntimeSettings
from xcs_airflow.runtime.waiting import wait_for

_FEW = 64


def answer_many(
    call: ModelCall,
    rows: Sequence[Mapping[str, Any]],
    *,
    cache: CacheRule | None,
    in_flight: int = 16,
    name: str = "llm",
    settings: RuntimeSettings | None = None,
) -> list[Any]:
    """The answer for every row, in order. It waits; an event loop may run in the calling thread.

    Calls made inside a task are written into the books of that task.

    Args:
        call: The request, but for its inputs.
        rows: The inputs of each request.
        cache: How answers are remembered; with it, equal requests are asked once. None asks for every row.
        in_flight: How many calls may wait for an answer at a time.
        name: Who asks, for messages and books.
        settings: Where models and the cache are; by default what the environment says.

    Raises:
        ModelError: Some rows have no answer. The others were finished and remembered first.
        ModelUnavailableError: The same, and trying again later may help.
        RuntimeTaskError: A prompt could not be written, or the cache cannot be used.
    """
    settings = settings or RuntimeSettings.from_environment()
    with code_on_path(settings.code):
        question = Question(name, call, cache, settings)
        messages = [question.messages(row) for row in rows]
        answers = _known(question, messages, settings)
        if answers is None:
            answers = wait_for(lambda: _asked(question, messages, settings, in_flight))
    failures = Failures()
    failures.count(answers)
    failures.raise_any()
    return answers


def _known(question: Question, messages: Sequence[list[Message]], settings: RuntimeSettings) -> list[Any] | None:
    """The answers to a few prompts when the cache has all of them, which takes no event loop; None otherwise."""
    if question.rule is None or len(messages) > _FEW:
        return None
    keys = [question.key(message) for message in messages]
    outcomes = recall(open_cache(settings.cache_address), question, set(keys), question.rule)
    if not all(key in outcomes for key in keys):
        return None
    current_ledger().note(question.name, question.model, rows=len(keys), hits=len(keys), duplicates=0)
    return deal(question, keys, outcomes)


async def _asked(question: Question, messages: Sequence[list[Message]], settings: RuntimeSettings, in_flight: int) -> list[Any]:
    async with Session(settings, in_flight, current_ledger()) as session:
        return await session.answers(question, messages)
