"""Providers' prompt caches: what they take, how often calls find there what others wrote, and what that is worth.

It knows the rows of data/prompt_caches.json and money for tokens; it does not know graphs, or how a marker is written.
"""

from __future__ import annotations

import json
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from xcs_airflow.cost.figures import Money
from xcs_airflow.cost.prices import PriceBook
from xcs_airflow.values import Frozen

_DATA = Path(__file__).parent / "data" / "prompt_caches.json"


class PromptCache(Frozen):
    """One row: the prompt cache of some models.

    Attributes:
        prefix: With what their names begin, as `provider/name`.
        needs_marker: Whether only what is marked is taken; otherwise it takes what it likes.
        min_tokens: Shorter prefixes are not taken.
        ttl_s: After how many seconds without a read a prefix is forgotten.
        longest_ttl_s: The same, where it is asked to stay as long as it can.
        hit_share_low: What share of the calls that could find a prefix does, at worst.
        hit_share: What share does, as expected.
        batch_hit_share_low: The same of the requests of a batch, when a batch before it wrote the prefix; 0 where nobody has measured it.
        batch_hit_share: The same, as expected.
        as_of: The date, YYYY-MM-DD, it was looked up.
        source: The page that says so.
    """

    prefix: str
    needs_marker: bool
    min_tokens: int = Field(ge=1)
    ttl_s: int = Field(ge=1)
    longest_ttl_s: int = Field(ge=1)
    hit_share_low: float = Field(ge=0, le=1)
    hit_share: float = Field(ge=0, le=1)
    batch_hit_share_low: float = Field(ge=0, le=1)
    batch_hit_share: float = Field(ge=0, le=1)
    as_of: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$")
    source: str


class _Rows(Frozen):
    rows: tuple[PromptCache, ...]


@cache
def prompt_caches() -> tuple[PromptCache, ...]:
    """Every row; of those that fit a model the first counts."""
    return _Rows.model_validate(json.loads(_DATA.read_bytes())).rows


@cache
def prompt_cache_of(model: str) -> PromptCache | None:
    """The prompt cache of a model, `provider/name`; None when none is known."""
    return next((row for row in prompt_caches() if model.startswith(row.prefix)), None)


class Calls(NamedTuple):
    """Calls that begin alike.

    Attributes:
        number: How many.
        at_once: How many begin before the first of them is answered.
        primed: How many are answered before all others begin; 0 when none is waited for.
        is_batch: Whether they go through the provider's batch API, where they do not see what each other writes.
        is_long: Whether what they write is to stay as long as it can, which may cost more.
    """

    number: float
    at_once: int
    primed: int = 0
    is_batch: bool = False
    is_long: bool = False

    @property
    def too_early(self) -> float:
        """How many find nothing, because nothing is written yet."""
        if self.primed:
            return min(self.number, self.primed)
        return self.number if self.is_batch else min(self.number, self.at_once)


def saved_usd(model: str, shared_tokens: float, calls: Calls, prices: PriceBook, *, is_marked: bool) -> Money | None:
    """What a prompt cache saves over calls that all pay for their whole prompts; less than zero where writing costs more.

    Args:
        model: `provider/name`.
        shared_tokens: With how many tokens all calls begin alike.
        calls: The calls.
        prices: The price book.
        is_marked: Whether the shared part is marked.

    Returns:
        US dollars, `low` being the most that may be saved and `high` the least, as money is saved from an amount that is ordered so;
        None when there is no such cache, it takes nothing so short, or a price is not known.
    """
    row = prompt_cache_of(model)
    if row is None or shared_tokens < row.min_tokens or (row.needs_marker and not is_marked):
        return None
    fresh, read, written = _prices_of(model, round(shared_tokens), prices, is_batch=calls.is_batch, is_long=calls.is_long)
    if fresh is None or read is None or written is None:
        return None
    later = Decimal(repr(calls.number - calls.too_early))
    early = Decimal(repr(float(calls.too_early)))

    def saved(share: float) -> Decimal:
        reads = later * Decimal(repr(share))
        return reads * (fresh - read) - (early + later - reads) * (written - fresh)

    expected, low = (row.batch_hit_share, row.batch_hit_share_low) if calls.is_batch else (row.hit_share, row.hit_share_low)
    return Money(low=saved(1.0), expected=saved(expected), high=saved(low))


def _prices_of(model: str, tokens: int, prices: PriceBook, *, is_batch: bool, is_long: bool) -> tuple[Decimal | None, ...]:
    """What so many tokens of input cost as they are, when they are read, and when they are written; None where nobody knows."""
    return (
        prices.price(model, tokens, 0, is_batch=is_batch),
        prices.price(model, tokens, 0, tokens, is_batch=is_batch),
        prices.price(model, tokens, 0, written_tokens=tokens, hour_tokens=tokens if is_long else 0, is_batch=is_batch),
    )


def less(cost: Money, saved: Money | None) -> Money:
    """A cost after what a prompt cache saves, its ends in order."""
    if saved is None or not cost.is_complete:
        return cost
    low, expected, high = cost.low - saved.low, cost.expected - saved.expected, cost.high - saved.high
    return Money(low=max(Decimal(0), min(low, expected)), expected=expected, high=max(high, expected))


def pays_from(model: str, prices: PriceBook, *, is_batch: bool = False, is_long: bool = False) -> int | None:
    """From how many calls on it pays to wait for the first, which writes, before the others read; None when it never does, or nobody knows.

    With writes at 1.25 and reads at 0.1 times the price of input: from the second call on. With writes at twice that price: from the third.

    Args:
        model: `provider/name`.
        prices: The price book.
        is_batch: Whether they go through the provider's batch API.
        is_long: Whether what they write is to stay as long as it can.
    """
    fresh, read, written = _prices_of(model, 1_000_000, prices, is_batch=is_batch, is_long=is_long)
    if fresh is None or read is None or written is None or fresh <= read:
        return None
    return int((written - fresh) / (fresh - read)) + 2
