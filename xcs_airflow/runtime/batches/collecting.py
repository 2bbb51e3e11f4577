"""What a task that collects is told about batches: which answers they brought, and why others are missing.

It knows what is written down; it asks no provider.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from xcs_airflow.errors import ModelError
from xcs_airflow.runtime.attempt import Attempt
from xcs_airflow.runtime.batches.asked import dossier_of
from xcs_airflow.runtime.failures import Failure
from xcs_airflow.runtime.models.batch import has_api
from xcs_airflow.runtime.question import Question


@dataclass(frozen=True, slots=True)
class _Brought:
    """What the batches of one step brought.

    Attributes:
        unread: Keys of answers that were paid for and not dealt out yet.
        lacks: Why keys have no answer.
    """

    unread: set[str] = field(default_factory=set)
    lacks: dict[str, str] = field(default_factory=dict)


class Collected:
    """What batches brought for the steps of a task.

    Args:
        this: The start of the task.
    """

    def __init__(self, this: Attempt) -> None:
        self._this = this
        self._brought: dict[str, _Brought] = {}

    def is_batched(self, question: Question) -> bool:
        """Whether the calls of a question went through a batch API, so that nobody is to be called now."""
        return has_api(question.target)

    def takes(self, question: Question, key: str) -> bool:
        """Whether an answer came with a batch and is dealt out for the first time: then it is neither saved nor shared."""
        unread = self._of(question).unread
        if key not in unread:
            return False
        unread.remove(key)
        return True

    def failure(self, question: Question, key: str) -> Failure:
        """Why there is no answer."""
        reason = self._of(question).lacks.get(key, "it was not part of any, or is not remembered any more")
        return Failure(ModelError.because("XCS720", operation=question.name, model=question.model, reason=reason))

    def _of(self, question: Question) -> _Brought:
        if question.name not in self._brought:
            brought = self._brought[question.name] = _Brought()
            for batch in dossier_of(self._this, question).load().batches:
                if batch.outcome is not None:
                    lacks = {lack.key: f"{lack.why}: {lack.reason}" for lack in batch.outcome.lacks}
                    answered = set(batch.intent.keys) - lacks.keys()
                    brought.unread.update(answered)
                    brought.lacks.update(lacks)
        return self._brought[question.name]
