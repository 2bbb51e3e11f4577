"""Asking how far the batches of a step are: what has ended is taken in, what came back without an answer is submitted again.

It knows when to take in, to wait, to look for a batch and to give one up; it waits for nobody itself.
"""

from __future__ import annotations

import logging
import time

from xcs_airflow.errors import ModelError, ModelUnavailableError, NotReadyError
from xcs_airflow.runtime.batches.asked import Asked
from xcs_airflow.runtime.batches.documents import Batch, Receipt
from xcs_airflow.runtime.batches.submitting import not_submitted, submit_missing
from xcs_airflow.runtime.batches.taking import give_up, take_in
from xcs_airflow.runtime.books import Usage
from xcs_airflow.runtime.models.batch import BatchApi, NotToldError, NotToldYetError, opened

_LOG = logging.getLogger("xcs_airflow.runtime")

_LATE_S = 3600
"""A batch whose time has been over for so long does not end by itself any more."""

_PATIENCE = 1.5
"""An orphan is waited for that many times as long as creating a batch may take."""

_MOST_LOST = 5
"""So many batches of one series may get lost on their way to the provider, until somebody should look why."""


async def polled(asked: Asked) -> list[Usage]:
    """Take in what has ended, and submit again what may yet be answered.

    Raises:
        NotReadyError: Something has not ended (XCS721).
        ModelError: A batch may have been submitted, and nobody can say so (XCS722); or none arrives (XCS725).
    """
    dossier = asked.dossier.load()
    if not dossier.batches:
        return []
    usage: list[Usage] = []
    reasons: list[str] = []
    async with opened(asked.question.target) as api:
        for batch in dossier.open:
            if batch.receipt is None:
                reason = await _look_for(asked, api, batch)
                if reason is not None:
                    reasons.append(reason)
            if batch.receipt is not None and batch.receipt.batch_id is not None:
                ended = await _taken_in(asked, api, batch, batch.receipt.batch_id)
                if ended is None:
                    reasons.append("the provider is at work")
                else:
                    usage += ended
        if not dossier.open:
            _check_that_some_arrive(asked)
            if await submit_missing(asked, api, dossier.series):
                reasons.append("what came back without an answer was submitted again")
    if reasons:
        facts = {"waiting": len(dossier.open), "total": len(dossier.batches), "reason": "; ".join(dict.fromkeys(reasons))}
        raise NotReadyError.because("XCS721", operation=asked.step.id, model=asked.question.model, **facts)
    return usage


async def _taken_in(asked: Asked, api: BatchApi, batch: Batch, batch_id: str) -> list[Usage] | None:
    """What a batch used; None when it has not ended."""
    status = await api.status(batch_id)
    began = max(batch.intent.created_at, batch.receipt.created_at if batch.receipt is not None else 0)
    is_late = time.time() > began + asked.terms.window_s + _LATE_S
    if status.has_ended:
        return await take_in(asked, api, batch, status, is_late=is_late)
    if is_late:
        _LOG.warning("batch %s: its time is over, and it is cancelled", batch.name)
        await api.cancel(batch_id)
    return None


async def _look_for(asked: Asked, api: BatchApi, batch: Batch) -> str | None:
    """Find out whether a batch without a receipt was submitted; gives why that cannot be said yet.

    Raises:
        ModelError: It can never be said, and a person is to decide (XCS722).
    """
    try:
        batch_id = await api.find(batch.intent.sought)
    except NotToldYetError as error:
        return str(error)
    except NotToldError as error:
        if _is_on_its_way(api, batch):
            return str(error)
        await _decide(asked, batch, str(error))
        return None
    if batch_id is not None:
        asked.dossier.receive(batch, Receipt(batch_id=batch_id, created_at=time.time()))
        _LOG.info("batch %s was submitted as %s", batch.name, batch_id)
    elif _is_on_its_way(api, batch):
        return "a batch may be on its way to the provider"
    else:
        await not_submitted(asked, batch, "the provider has no such batch")
    return None


def _is_on_its_way(api: BatchApi, batch: Batch) -> bool:
    """Whether whoever writes the intent may still be at it. A clock that was set back makes nobody wait for ever."""
    return abs(time.time() - batch.intent.created_at) < api.create_s * _PATIENCE


async def _decide(asked: Asked, batch: Batch, reason: str) -> None:
    """What becomes of a batch of which the provider does not say whether it has it."""
    if asked.terms.on_orphan == "fail":
        intent = batch.intent
        facts = {"requests": len(intent.keys), "reason": reason, "mark": intent.mark, "document": batch.receipt_name}
        raise ModelError.because("XCS722", operation=asked.step.id, model=asked.question.model, **facts)
    _LOG.warning("batch %s is submitted again, and perhaps paid twice: %s", batch.name, reason)
    await give_up(asked, batch, reason)


def _check_that_some_arrive(asked: Asked) -> None:
    lost = [batch for batch in asked.dossier.of_series(asked.dossier.series) if batch.was_not_submitted]
    if len(lost) >= _MOST_LOST:
        reason = lost[-1].receipt.reason if lost[-1].receipt is not None else ""
        facts = {"model": asked.question.model, "times": len(lost), "reason": reason}
        raise ModelUnavailableError.because("XCS725", operation=asked.step.id, **facts)
