"""What is known already: answers from a cache, understood, and dealt out to the rows that asked.

It knows answers and keys; it makes no call.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from xcs_airflow.runtime.answers import MisfitError
from xcs_airflow.runtime.cache import Cache
from xcs_airflow.runtime.failures import Failure
from xcs_airflow.runtime.models.provider import ModelAnswer
from xcs_airflow.runtime.question import Question


class Understood(NamedTuple):
    """An answer and the value it stands for."""

    answer: ModelAnswer
    value: Any


Outcome = Understood | Failure
Tokens = tuple[int | None, int | None]
"""Of a request and its answer, as far as the provider counted."""


def recall(cache: Cache, question: Question, keys: Iterable[str], alone: Mapping[str, str] | None = None) -> dict[str, Outcome]:
    """The answers a cache has, by key. One that does not fit its type any more is none.

    Args:
        cache: Where to look.
        question: What is asked.
        keys: The names of the answers.
        alone: For questions that are asked in packs: by key, the name of the answer to the same prompt asked alone, which will do.

    Raises:
        RuntimeTaskError: The cache does not answer (XCS614).
    """
    wanted = {key: key for key in keys}
    found = _recalled(cache, question, wanted)
    if alone and len(found) < len(wanted):
        found |= _recalled(cache, question, {alone[key]: key for key in wanted if key not in found})
    return found


def _recalled(cache: Cache, question: Question, names: Mapping[str, str]) -> dict[str, Outcome]:
    """What a cache has under these names, by the key that each stands for."""
    found: dict[str, Outcome] = {}
    ttl_s = question.rule.ttl_s if question.rule is not None else None
    for name, cached in cache.get_many(names, ttl_s=ttl_s).items():
        answer = ModelAnswer(cached.text, cached.input_tokens, cached.output_tokens, model=cached.model)
        with suppress(MisfitError):
            found[names[name]] = Understood(answer, question.read(answer))
    return found


def deal(question: Question, keys: Sequence[str], outcomes: Mapping[str, Outcome], shared: Collection[str] = ()) -> list[Any]:
    """The value for every row, or its failure. Equal rows get equal values, but none gets the list or dict of another.

    Args:
        question: What was asked.
        keys: The key of every row.
        outcomes: What became of every key.
        shared: Keys whose outcomes others have as well.
    """
    values: list[Any] = []
    given = set(shared)
    for key in keys:
        outcome = outcomes[key]
        if isinstance(outcome, Failure):
            values.append(outcome)
        elif key in given and isinstance(outcome.value, (list, dict)):
            values.append(question.read(outcome.answer))
        else:
            values.append(outcome.value)
            given.add(key)
    return values


def tally(
    keys: Sequence[str], outcomes: Mapping[str, Outcome], recalled: Collection[str], shared: Collection[str]
) -> tuple[Counter[Tokens], Counter[Tokens]]:
    """What was not paid: how many answers of how many tokens came from the cache, and how many were shared with an equal question.

    Args:
        keys: The key of every row.
        outcomes: What became of every key.
        recalled: Keys whose answers were in the cache.
        shared: Keys that somebody else asked for.
    """
    hits: Counter[Tokens] = Counter()
    duplicates: Counter[Tokens] = Counter()
    asked: set[str] = set()
    for key in keys:
        outcome = outcomes[key]
        if isinstance(outcome, Failure):
            continue
        tokens = outcome.answer.input_tokens, outcome.answer.output_tokens
        if key in recalled:
            hits[tokens] += 1
        elif key in shared or key in asked:
            duplicates[tokens] += 1
        asked.add(key)
    return hits, duplicates
