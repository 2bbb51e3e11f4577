"""One request before the others: what a batch of one writes into the provider's prompt cache, the batches after it find there.

It knows what is handed over now and whether that is marked; it submits nothing. The requests of one batch do not see what each of them
writes (github.com/Bike4Mind/bike4mind issue 2741), so marks without such a batch before them cost more than they save.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import NamedTuple

from xcs_airflow.runtime.batches.asked import Asked
from xcs_airflow.runtime.batches.documents import Dossier
from xcs_airflow.runtime.models.provider import Message


class Turn(NamedTuple):
    """What is handed over now.

    Attributes:
        prompts: The prompts and their keys.
        is_marked: Whether the provider is asked to keep what they share.
        goes_first: Whether the others wait for it.
    """

    prompts: Iterator[tuple[str, list[Message]]]
    is_marked: bool = False
    goes_first: bool = False


def turn(asked: Asked, series: int, prompts: Iterable[tuple[str, list[Message]]]) -> Turn:
    """Whose turn it is: that of one request, of nobody as long as its batch has not ended, then of all others.

    One batch goes first in a series. If it brings no answer, or is taken in so late that what it wrote may be forgotten, the others go
    without a mark.

    Args:
        asked: The step.
        series: The series the batches belong to.
        prompts: All that has no answer.
    """
    prefix, waiting = asked.prefix, iter(prompts)
    if prefix is None or not prefix.prime:
        return Turn(waiting, is_marked=prefix is not None)
    if _is_warm(asked.dossier, prefix.ttl_s):
        return Turn(waiting, is_marked=True)
    first = [batch for batch in asked.dossier.of_series(series) if batch.intent.goes_first]
    if any(batch.is_open for batch in first):
        return Turn(iter(()))
    enough = list(islice(waiting, prefix.prime_from))
    if len(enough) < prefix.prime_from or any(batch.outcome is not None and batch.outcome.is_round for batch in first):
        return Turn(chain(enough, waiting))
    return Turn(iter(enough[:1]), is_marked=True, goes_first=True)


def _is_warm(dossier: Dossier, ttl_s: float) -> bool:
    """Whether what an earlier batch wrote stays for half of its time yet, in which requests that are handed over now can begin.

    A clock that was set back makes nothing last for ever.
    """
    ends = [
        batch.outcome.ended_at
        for batch in dossier.batches
        if batch.intent.is_marked and batch.outcome is not None and batch.outcome.answers
    ]
    return any(abs(time.time() - ended_at) < ttl_s / 2 for ended_at in ends)
