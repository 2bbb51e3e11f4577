"""Calls that go through a provider's batch API: a task submits them, another asks until they are answered, a third takes them in.

It knows the order of the steps of one task; the files beside this one know what is done in each.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

from xcs_airflow.errors import NotReadyError, XcsError
from xcs_airflow.runtime.attempt import Attempt
from xcs_airflow.runtime.batches.asked import Asked
from xcs_airflow.runtime.batches.collecting import Collected
from xcs_airflow.runtime.batches.polling import polled
from xcs_airflow.runtime.batches.submitting import submitted
from xcs_airflow.runtime.books import Price, Usage
from xcs_airflow.runtime.budget import Purse
from xcs_airflow.runtime.steps import StepRunner

__all__ = ["Collected", "poll", "submit"]

RunnerOf: TypeAlias = Callable[[Attempt], StepRunner]

_LOG = logging.getLogger("xcs_airflow.runtime")


def submit(parts: Iterable[Attempt], runner_of: RunnerOf, price: Price, purse: Purse | None) -> list[Usage]:
    """Hand over every call whose answer is not there yet. Again, it hands over what is neither there nor handed over.

    Args:
        parts: The start of the task, shard by shard.
        runner_of: Gives what writes the prompts of a shard.
        price: What calls cost.
        purse: What they may cost; None means no limit.

    Returns:
        What was used: nothing, before the answers are there.

    Raises:
        ModelError: A batch was refused, or the provider does not answer. What was submitted before counts.
    """
    return _each(submitted(asked) for asked in _all_asked(parts, runner_of, price, purse))


def poll(parts: Iterable[Attempt], runner_of: RunnerOf, price: Price, purse: Purse | None) -> list[Usage]:
    """Take in what has ended, and hand over again what came back without an answer; arguments and errors are those of `submit`.

    Returns:
        What the batches used that were taken in.

    Raises:
        NotReadyError: Some batches have not ended (XCS721).
    """
    return _each(polled(asked) for asked in _all_asked(parts, runner_of, price, purse))


def _all_asked(parts: Iterable[Attempt], runner_of: RunnerOf, price: Price, purse: Purse | None) -> Iterator[Asked]:
    """The steps whose calls go through a batch API. What a test or a model in this process answers is asked when it is collected."""
    for part in parts:
        runner = runner_of(part)
        every: list[Asked] = []
        for step in part.missing:
            if step.call is not None:
                asked = Asked.of(part, runner, step, step.call, price, purse)
                if asked is not None:
                    every.append(asked)
                else:
                    _LOG.info("%s has no batch API: %s is asked when the answers are collected", step.call.model, step.id)
        yield from every if len(every) == 1 else _beside_each_other(every)


def _beside_each_other(every: Sequence[Asked]) -> Iterator[Asked]:
    """Steps that may ask the same, each told what is in batches of the others when its turn comes."""
    for asked in every:
        asked.dossier.load()
    for asked in every:
        others = (batch for other in every if other is not asked for batch in other.dossier.open)
        yield replace(asked, taken=frozenset(key for batch in others for key in batch.intent.keys))  # a field, not a dict


def _each(works: Iterator[Coroutine[None, None, list[Usage]]]) -> list[Usage]:
    """Do one work after the other. One that fails does not keep the others from being done.

    Raises:
        XcsError: What failed for good; else what may work later; else, of all that only takes time, everything.
    """
    usage: list[Usage] = []
    errors: list[XcsError] = []
    for work in works:
        try:
            usage += asyncio.run(work)
        except XcsError as error:
            errors.append(error)
    # What failed goes before what only takes time.
    failures = [error for error in errors if not isinstance(error, NotReadyError)]
    if failures:
        raise min(failures, key=lambda error: bool(getattr(error, "retryable", False)))
    if errors:
        raise NotReadyError([finding for error in errors for finding in error.findings])
    return usage
