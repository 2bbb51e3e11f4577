"""Taking in the results of a batch that has ended: good answers are remembered, the books settled, every request accounted for.

It knows what makes an answer good; it does not know when a batch has ended. Whatever it does may be done again: answers and books
take the place of equal ones, and the outcome comes last.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path

from xcs_airflow.errors import ModelError
from xcs_airflow.runtime.answers import MisfitError
from xcs_airflow.runtime.batches.asked import Asked
from xcs_airflow.runtime.batches.bookkeeping import book_of, cost_of_all
from xcs_airflow.runtime.batches.documents import Batch, Lack, Outcome, custom_id
from xcs_airflow.runtime.batches.submitting import scratch
from xcs_airflow.runtime.books import Usage
from xcs_airflow.runtime.ledger import Ledger
from xcs_airflow.runtime.models.batch import BatchApi, BatchResult, BatchStatus
from xcs_airflow.runtime.models.provider import AttemptError, ModelAnswer

_LOG = logging.getLogger("xcs_airflow.runtime")
_GROUP = 500


async def take_in(asked: Asked, api: BatchApi, batch: Batch, status: BatchStatus, *, is_late: bool) -> list[Usage]:
    """Take in all results of a batch, and write down what became of it.

    Args:
        asked: The step.
        api: The provider.
        batch: Which of its batches.
        status: What the provider says of it.
        is_late: Whether it was cancelled because its time was over.

    Returns:
        What it used.
    """
    if batch.receipt is None or batch.receipt.batch_id is None:
        return []
    with scratch() as folder, book_of(asked, batch) as book:
        taking = _Taking(asked, api, batch, book, is_late=is_late)
        async for result in api.results(batch.receipt.batch_id, status, Path(folder)):
            taking.take(result)
        taking.rest(status)
        usage = book.close(asked.price)
    if asked.purse is not None:
        await asked.purse.release(batch.name, cost_of_all(usage))
    ended_at = batch.intent.created_at if status.ended_at is None else status.ended_at
    outcome = Outcome.of(len(batch.intent.keys), taking.lacks, is_round=not status.is_turned_away, ended_at=ended_at)
    asked.dossier.end(batch, outcome)
    _LOG.info("batch %s: of %d requests to %s %s", batch.name, len(batch.intent.keys), asked.question.model, outcome)
    return usage


async def give_up(asked: Asked, batch: Batch, reason: str) -> None:
    """Write down that nobody knows what became of a batch: what was set aside for it counts as spent."""
    if asked.purse is not None:
        await asked.purse.release(batch.name, None)
    lacks = [Lack(key=key, why="missing", reason=reason, is_worth_trying=True) for key in batch.intent.keys]  # a field
    asked.dossier.end(batch, Outcome.of(len(lacks), lacks, is_round=False))


class _Taking:
    """The results of one batch, as they come."""

    def __init__(self, asked: Asked, api: BatchApi, batch: Batch, book: Ledger, *, is_late: bool) -> None:
        self.lacks: list[Lack] = []
        self._book = book
        self._asked = asked
        self._api = api
        self._name = batch.name
        self._is_late = is_late
        self._expected = {custom_id(batch.intent.mark, key): key for key in batch.intent.keys}  # a field
        self._told: set[str] = set()
        self._good: dict[str, ModelAnswer] = {}
        # A clock that was set back says nothing.
        self._waited_s = max(0.0, time.time() - batch.intent.created_at)
        target = asked.question.target
        self._billed_as = target.answered_by if target.route.billing == "list" else None

    def take(self, result: BatchResult) -> None:
        """One result. What was told before, or was never asked, is left out."""
        key = self._expected.pop(result.custom_id, None)
        if key is None:
            why = "there are two results for" if result.custom_id in self._told else "nobody asked for"
            _LOG.warning("batch %s: %s %r, which is left out", self._name, why, result.custom_id[:80])
            return
        self._told.add(result.custom_id)
        if result.kind == "succeeded":
            self._answered(key, result)
        else:
            self._lacking(key, result)

    def rest(self, status: BatchStatus) -> None:
        """What the results say nothing of."""
        for name, key in self._expected.items():
            self._lacking(key, BatchResult(name, status.rest, None, status.reason, status.may_succeed))
        self._expected = {}
        self._remember()

    def _answered(self, key: str, result: BatchResult) -> None:
        question, account = self._asked.question, self._asked.account
        try:
            answer = self._api.read(result.document)
        except AttemptError as error:
            self._book.fail(account, "unknown" if error.may_be_billed else "refused", error.reason)
            self._lack(key, "rejected", error.reason, is_worth_trying=error.blame == "busy")
            return
        try:
            question.read(answer)
        except MisfitError as misfit:
            reason = f"it does not fit the output type: {misfit}"
            self._lack(key, "rejected", reason, is_worth_trying=True, answer=answer.text)
        except ModelError as error:
            self._lack(key, "rejected", error.findings[0].message)
        else:
            self._good[key] = answer
            if len(self._good) == _GROUP:
                self._remember()
            return
        self._book.settle(account, answer, "discarded", billed_as=self._billed_as, seconds=self._waited_s)

    def _remember(self) -> None:
        """Make a group of answers safe, and then settle it."""
        good, self._good = self._good, {}
        self._asked.remember(good)
        for answer in good.values():
            self._book.settle(self._asked.account, answer, "answered", billed_as=self._billed_as, seconds=self._waited_s)
        self._book.flush()

    def _lacking(self, key: str, result: BatchResult) -> None:
        kind, may_succeed = result.kind, result.may_succeed
        if kind == "cancelled" and self._is_late:
            kind, may_succeed = "expired", True
        # Providers bill answers. Where one says nothing, nobody knows.
        self._book.fail(self._asked.account, "unknown" if kind == "missing" else "refused", result.reason)
        if kind != "succeeded":
            self._lack(key, kind, result.reason, is_worth_trying=may_succeed)

    def _lack(self, key: str, why: str, reason: str, *, is_worth_trying: bool = False, answer: str | None = None) -> None:
        lack = {"key": key, "why": why, "reason": reason, "is_worth_trying": is_worth_trying, "answer": answer}
        self.lacks.append(Lack.model_validate(lack))
