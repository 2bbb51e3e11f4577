"""Handing over what has no answer: a file, an intent, the call that costs money, a receipt.

It knows the order that keeps a process that dies from paying twice; it does not know what comes back.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
import time
from collections import Counter
from collections.abc import Container
from contextlib import AbstractContextManager
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from xcs_airflow.errors import ModelError
from xcs_airflow.runtime.batches.asked import Asked
from xcs_airflow.runtime.batches.bookkeeping import announced, withdrawn
from xcs_airflow.runtime.batches.documents import Batch, Intent, Lack, Outcome, Receipt
from xcs_airflow.runtime.batches.files import RequestFile, RequestFiles
from xcs_airflow.runtime.batches.priming import turn
from xcs_airflow.runtime.books import Usage
from xcs_airflow.runtime.models.batch import BatchApi, UnknownFateError, opened
from xcs_airflow.runtime.models.batch_client import RefusedError

_LOG = logging.getLogger("xcs_airflow.runtime")

TO_CREATE_S = 300.0
"""From its intent on, creating a batch may begin for so long. Whoever comes later does not create it any more, so that others know
when to look for it at the provider."""


async def submitted(asked: Asked) -> list[Usage]:
    """Hand over what has no answer and is in no batch that may bring one.

    When all batches have ended, everything without an answer is handed over again, from the start: somebody wants it.
    """
    dossier = asked.dossier.load()
    await clean_up(asked)
    series = max(1, dossier.series) if dossier.open or not dossier.batches else dossier.series + 1
    async with opened(asked.question.target) as api:
        await submit_missing(asked, api, series)
    return []


async def submit_missing(asked: Asked, api: BatchApi, series: int) -> None:
    """Hand over what has no answer and whose turn it is, as far as the terms allow.

    Args:
        asked: The step.
        api: The provider.
        series: The series the batches belong to.
    """
    with scratch() as folder:
        while True:
            tried = _tried(asked, series)
            now = turn(asked, series, asked.without_answer(tried.left_out))
            files = RequestFiles(api, asked.question, asked.terms, now, tried.answers, Path(folder))
            is_alone = True
            while is_alone and (file := await asyncio.to_thread(files.next)) is not None:
                is_alone = await _submit(asked, api, series, file)
            if is_alone:
                return
            # Somebody else hands over the same: what is left is known when theirs is.
            asked.dossier.load()


def scratch() -> AbstractContextManager[str]:
    """A folder for files of requests and results, for as long as the block runs."""
    return tempfile.TemporaryDirectory(prefix="xcs-batch-")


class _Tried(NamedTuple):
    """What was tried in a series.

    Attributes:
        left_out: Keys that are not handed over: they are in a batch, or were tried as often as they may be.
        answers: Answers that were no good.
    """

    left_out: Container[str]
    answers: dict[str, str]


def _tried(asked: Asked, series: int) -> _Tried:
    left_out = asked.taken | {key for batch in asked.dossier.open for key in batch.intent.keys}  # a field, not a dict
    times: Counter[str] = Counter()
    answers: dict[str, str] = {}
    for batch in asked.dossier.of_series(series):
        if batch.outcome is not None and batch.outcome.is_round:
            times.update(batch.intent.keys)
            left_out |= {lack.key for lack in batch.outcome.lacks if not lack.is_worth_trying}
            answers |= {lack.key: lack.answer for lack in batch.outcome.lacks if lack.answer is not None}
    return _Tried(left_out | {key for key, often in times.items() if often >= asked.terms.rounds}, answers)


async def _submit(asked: Asked, api: BatchApi, series: int, file: RequestFile) -> bool:
    """Hand over one file; whether nobody else was doing that.

    The file goes first: it costs nothing, and what is left of it does no harm. From the intent on, whether the batch was created
    is a question for the provider.
    """
    name = asked.dossier.name_of_next
    uploaded = await api.upload(file.path)
    facts = {"mark": file.mark, "uploaded": uploaded, "sha256": file.sha256, "bytes": file.size, "keys": tuple(file.keys)}
    facts |= {"is_marked": file.is_marked, "goes_first": file.goes_first}
    until = time.monotonic() + TO_CREATE_S
    batch = asked.dossier.begin(name, Intent(series=series, created_at=time.time(), **facts))
    if batch is None:
        return False
    try:
        if asked.purse is not None:
            await asked.purse.hold(name, asked.question.target, file.requests(asked.question))
        announced(asked, batch)
        batch_id = await api.create(file.path, uploaded, file.mark, until)
    except UnknownFateError as error:
        _LOG.warning("batch %s: it is not known whether it was submitted, and will be asked for: %s", name, error)
        return True
    except ModelError as error:
        await not_submitted(asked, batch, error.findings[0].message)
        raise
    asked.dossier.receive(batch, Receipt(batch_id=batch_id, created_at=time.time()))
    if asked.dossier.is_given_up(batch):
        await _too_late(asked, api, batch, batch_id)
    else:
        _LOG.info("batch %s: %d requests to %s submitted as %s", name, len(file.keys), asked.question.model, batch_id)
    return True


async def _too_late(asked: Asked, api: BatchApi, batch: Batch, batch_id: str) -> None:
    """Somebody has given a batch up that was created after all: cancel it, and let the books say that it may be billed."""
    reason = "it was created so late that it had been given up"
    _LOG.warning("batch %s: %s is cancelled: %s", batch.name, batch_id, reason)
    await cancelled(api, batch, batch_id)
    lacks = [Lack(key=key, why="missing", reason=reason, is_worth_trying=True) for key in batch.intent.keys]  # a field, not a dict
    asked.dossier.end(batch, Outcome.of(len(lacks), lacks, is_round=False))
    announced(asked, batch)


async def cancelled(api: BatchApi, batch: Batch, batch_id: str) -> None:
    """Ask the provider to work on a batch no longer. One that cannot be cancelled has ended."""
    try:
        await api.cancel(batch_id)
    except RefusedError as error:
        _LOG.info("batch %s: %s is not cancelled: %s", batch.name, batch_id, error.findings[0].message)


async def not_submitted(asked: Asked, batch: Batch, reason: str, *, is_lost: bool = False) -> None:
    """Write down that a batch was not submitted, unless somebody knows better, and give back what was set aside for it."""
    asked.dossier.receive(batch, Receipt(batch_id=None, created_at=time.time(), reason=reason, is_lost=is_lost))
    if batch.was_not_submitted:
        _LOG.info("batch %s was not submitted: %s", batch.name, reason)
        await _cleaned_up(asked, batch)


async def clean_up(asked: Asked) -> None:
    """Do what a process that was killed left undone after it wrote down that a batch was not submitted."""
    for batch in asked.dossier.batches:
        if batch.was_not_submitted and batch.outcome is None:
            await _cleaned_up(asked, batch)


async def _cleaned_up(asked: Asked, batch: Batch) -> None:
    withdrawn(asked, batch)
    if asked.purse is not None:
        await asked.purse.release(batch.name, Decimal(0))
