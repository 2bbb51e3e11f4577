"""Asking how far the batches of a step are: what has ended is taken in, what may yet be answered is submitted.

It knows when to take in, to wait, to look for a batch and to give one up; it waits for nobody itself.
"""

from __future__ import annotations

import logging
import time

from xcs_airflow.errors import ModelError, NotReadyError
from xcs_airflow.runtime.batches.asked import Asked
from xcs_airflow.runtime.batches.documents import Batch, Dossier, Receipt
from xcs_airflow.runtime.batches.submitting import TO_CREATE_S, cancelled, clean_up, not_submitted, submit_missing
from xcs_airflow.runtime.batches.taking import give_up, take_in
from xcs_airflow.runtime.books import Usage
from xcs_airflow.runtime.models.batch import BatchApi, NotToldError, NotToldYetError, opened

_LOG = logging.getLogger("xcs_airflow.runtime")

_LATE_S = 3600
"""A batch whose time has been over for so long does not end by itself any more."""

_UNSEEN_S = 300.0
"""A provider's list may take so long until it shows a new batch. Assumption."""

_AGAIN_S = 600.0
"""A batch that the provider had no room for is submitted again after so long. Assumption: room comes when other batches end."""

_MOST_LOST = 5
"""So many batches of one series may get lost on their way to the provider, until somebody should look why."""


async def polled(asked: Asked) -> list[Usage]:
    """Take in what has ended, and submit what may yet be answered: what waited for a first batch, or came back without an answer.

    What an earlier poll was done with is not asked about.

    Raises:
        NotReadyError: Something has not ended (XCS721).
        ModelError: A batch may have been submitted, and nobody can say so (XCS722); or none arrives (XCS725).
    """
    dossier = asked.dossier.load()
    if not dossier.batches or _has_nothing_left(dossier):
        return []
    await clean_up(asked)
    usage: list[Usage] = []
    reasons: list[str] = []
    async with opened(asked.question.target) as api:
        for batch in dossier.open:
            used, reason = await _looked_at(asked, api, batch)
            usage += used
            reasons.append(reason)
        if not dossier.open:
            reasons.append(await _went_on(asked, api))
    if any(reasons):
        facts = {"waiting": len(dossier.open), "total": len(dossier.batches), "reason": "; ".join(filter(None, dict.fromkeys(reasons)))}
        raise NotReadyError.because("XCS721", operation=asked.step.id, model=asked.question.model, **facts)
    dossier.store.create(_word_of(dossier), b"{}")
    return usage


def _has_nothing_left(dossier: Dossier) -> bool:
    """Whether an earlier poll found that all of the last series have ended and nothing is to be submitted again.

    One poll asks for many shards: those that are done are not read again until the last one is.
    """
    return not dossier.open and dossier.store.get(_word_of(dossier)) is not None


def _word_of(dossier: Dossier) -> str:
    return f"{dossier.folder}/{dossier.series}.polled.json"


async def _looked_at(asked: Asked, api: BatchApi, batch: Batch) -> tuple[list[Usage], str]:
    """What a batch used that has ended; why it has not."""
    reason = await _look_for(asked, api, batch) if batch.receipt is None else None
    if batch.receipt is None or batch.receipt.batch_id is None:
        return [], reason or ""
    ended = await _taken_in(asked, api, batch, batch.receipt.batch_id)
    return (ended, "") if ended is not None else ([], "the provider is at work")


async def _went_on(asked: Asked, api: BatchApi) -> str:
    """Submit what came back without an answer; why it is not the end."""
    _check_that_some_arrive(asked)
    if _was_turned_away_just_now(asked.dossier.batches[-1]):
        return "the provider has no room for it, and is asked again later"
    went_first = asked.dossier.batches[-1].intent.goes_first
    await submit_missing(asked, api, asked.dossier.series)
    # By this process, or by another that was quicker.
    said = "the others were submitted after the first" if went_first else "what came back without an answer was submitted again"
    return said if asked.dossier.open else ""


async def _taken_in(asked: Asked, api: BatchApi, batch: Batch, batch_id: str) -> list[Usage] | None:
    """What a batch used; None when it has not ended."""
    status = await api.status(batch_id)
    began = max(batch.intent.created_at, batch.receipt.created_at if batch.receipt is not None else 0)
    is_late = time.time() > began + asked.terms.window_s + _LATE_S
    if status.has_ended:
        return await take_in(asked, api, batch, status, is_late=is_late)
    if is_late:
        _LOG.warning("batch %s: its time is over, and it is cancelled", batch.name)
        await cancelled(api, batch, batch_id)
    return None


async def _look_for(asked: Asked, api: BatchApi, batch: Batch) -> str | None:
    """Find out whether a batch without a receipt was submitted; gives why that cannot be said yet.

    Raises:
        ModelError: It can never be said, and a person is to decide (XCS722).
    """
    try:
        batch_id = await api.find(batch.intent.sought(TO_CREATE_S + api.attempt_s))
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
        await not_submitted(asked, batch, "the provider has no such batch", is_lost=True)
    return None


def _is_on_its_way(api: BatchApi, batch: Batch) -> bool:
    """Whether whoever wrote the intent may still be at it, or the provider may still hide the batch.

    A clock that was set back makes nobody wait for ever.
    """
    return abs(time.time() - batch.intent.created_at) < TO_CREATE_S + api.attempt_s + _UNSEEN_S


async def _decide(asked: Asked, batch: Batch, reason: str) -> None:
    """What becomes of a batch of which the provider does not say whether it has it."""
    if asked.terms.on_orphan == "fail":
        intent = batch.intent
        facts = {"requests": len(intent.keys), "reason": reason, "mark": intent.mark, "document": batch.receipt_name}
        raise ModelError.because("XCS722", operation=asked.step.id, model=asked.question.model, **facts)
    _LOG.warning("batch %s is submitted again, and perhaps paid twice: %s", batch.name, reason)
    await give_up(asked, batch, reason)


def _check_that_some_arrive(asked: Asked) -> None:
    receipts = [batch.receipt for batch in asked.dossier.of_series(asked.dossier.series) if batch.receipt is not None]
    lost = [receipt.reason for receipt in receipts if receipt.is_lost]
    if len(lost) >= _MOST_LOST:
        facts = {"model": asked.question.model, "times": len(lost), "reason": lost[-1]}
        raise ModelError.because("XCS725", operation=asked.step.id, **facts)


def _was_turned_away_just_now(batch: Batch) -> bool:
    """Whether the provider had no room for a batch, and has had no time to make some."""
    is_turned_away = batch.outcome is not None and not batch.outcome.is_round and batch.receipt is not None
    return is_turned_away and abs(time.time() - batch.intent.created_at) < _AGAIN_S
