"""What the records of a ledger say and how they add up: an intent before every paid call, a settlement after it, what was saved.

It knows records, tokens and sums of money; it does not know who writes records, where they lie or where prices come from. A call
whose settlement is missing, because the process died or the connection broke, is shown as possibly billed, never as free.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from decimal import Decimal
from typing import Any, Literal, NamedTuple, Protocol, Self


class Price(Protocol):
    """What calls cost."""

    def __call__(
        self,
        model: str,
        input_tokens: int,
        output_tokens: int,
        cached_tokens: int,
        *,
        written_tokens: int = 0,
        hour_tokens: int = 0,
        is_batch: bool = False,
    ) -> Decimal | None:
        """The price of one call in US dollars, live or in a provider's batch; None when nobody knows."""


Outcome = Literal["answered", "discarded"]
"""An answer was used, or it was paid for and could not be used."""

Saving = Literal["hits", "duplicates"]

_MOST_DISTINCT = 10_000
"""So many different calls are counted before they are priced and forgotten: memory does not grow with the number of calls."""


class Account(NamedTuple):
    """Whose books a call belongs into.

    Attributes:
        operation: The operation's id.
        model: The model, as the pipeline names it.
        mechanism: How the call is made.
    """

    operation: str
    model: str
    mechanism: str = "concurrent"


class Period(NamedTuple):
    """From when to when an attempt wrote records, in seconds since 1970 by the clock of its machine."""

    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What one operation used of one model, by one mechanism.

    Attributes:
        operation: The operation's id.
        model: The model, as the pipeline names it.
        mechanism: `concurrent` or `provider_batch`.
        rows: Answers that were needed.
        hits: Of these, from the cache.
        duplicates: Of these, shared with an equal request of the same run: calls avoided.
        calls: Calls whose answers were used.
        discarded: Calls that were answered and paid for in vain: cut off, or not fitting the output type.
        refused: Calls that were not answered, and are not billed.
        possibly_billed: Calls of which nobody knows.
        input_tokens: Of the answered calls, those discarded included, as far as the provider said.
        output_tokens: Likewise.
        cached_tokens: Input tokens that the provider had in its own prompt cache.
        written_tokens: Input tokens that the provider took into that cache.
        list_cost_usd: What they cost by the price list for live calls, without those whose price is unknown.
        billed_cost_usd: What they cost on this route.
        wasted_cost_usd: What of the billed cost was for discarded answers.
        possibly_billed_cost_usd: What the possibly billed calls cost, each taken as the dearest answered call of the same attempt.
        saved_by_hits_usd: What the hits would have cost.
        saved_by_duplicates_usd: What the duplicates would have cost.
        saved_by_batch_usd: What the batched calls would have cost more if they had been made live.
        calls_without_list_price: Answered calls that are missing in `list_cost_usd`.
        calls_without_billed_price: Answered calls that are missing in `billed_cost_usd`.
        possibly_billed_without_cost: Possibly billed calls that are missing in `possibly_billed_cost_usd`.
    """

    operation: str
    model: str
    mechanism: str = "concurrent"
    rows: int = 0
    hits: int = 0
    duplicates: int = 0
    calls: int = 0
    discarded: int = 0
    refused: int = 0
    possibly_billed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    written_tokens: int = 0
    list_cost_usd: Decimal = Decimal(0)
    billed_cost_usd: Decimal = Decimal(0)
    wasted_cost_usd: Decimal = Decimal(0)
    possibly_billed_cost_usd: Decimal = Decimal(0)
    saved_by_hits_usd: Decimal = Decimal(0)
    saved_by_duplicates_usd: Decimal = Decimal(0)
    saved_by_batch_usd: Decimal = Decimal(0)
    calls_without_list_price: int = 0
    calls_without_billed_price: int = 0
    possibly_billed_without_cost: int = 0

    @property
    def account(self) -> Account:
        """Whose books it is of."""
        return Account(self.operation, self.model, self.mechanism)

    @property
    def saved_usd(self) -> Decimal:
        """What was not paid, thanks to the cache, equal requests and batches."""
        return self.saved_by_hits_usd + self.saved_by_duplicates_usd + self.saved_by_batch_usd

    def __add__(self, other: Usage) -> Usage:
        sums = {name: getattr(self, name) + getattr(other, name) for name in _COUNTS}
        return replace(self, **sums)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form: money as decimal text, None when nothing of it is known."""
        amounts: dict[str, str | None] = {name: f"{getattr(self, name):f}" for name in _AMOUNTS}
        answered = self.calls + self.discarded
        for name, unknown, calls in (
            ("list_cost_usd", self.calls_without_list_price, answered),
            ("billed_cost_usd", self.calls_without_billed_price, answered),
            ("possibly_billed_cost_usd", self.possibly_billed_without_cost, self.possibly_billed),
        ):
            if unknown and unknown == calls:
                amounts[name] = None
        return {**asdict(self), **amounts}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read the JSON form; what another version wrote more or less of is nothing."""
        known = {name: value for name, value in data.items() if name in _NAMES}
        return cls(**{**known, **{name: Decimal(data.get(name) or 0) for name in _AMOUNTS}})


_NAMES = tuple(entry.name for entry in fields(Usage))
_COUNTS = tuple(name for name in _NAMES if name not in Account._fields)
_AMOUNTS = tuple(name for name in _COUNTS if name.endswith("_usd"))


def total(usages: Iterable[Usage]) -> Usage:
    """The sum of all, in the name of no operation."""
    return sum(usages, start=Usage("", "", ""))


def summed(usages: Iterable[Usage]) -> list[Usage]:
    """One sum for every account, in alphabetical order."""
    sums: dict[Account, Usage] = {}
    for usage in usages:
        known = sums.get(usage.account)
        sums[usage.account] = usage if known is None else known + usage
    return [sums[account] for account in sorted(sums)]


class Call(NamedTuple):
    """What decides the price of an answer: equal calls are counted, not kept."""

    outcome: str
    billed_as: str | None
    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int
    written_tokens: int = 0
    hour_tokens: int = 0


@dataclass(slots=True)
class _Page:
    """The records of one account, as they add up.

    Attributes:
        account: Whose they are.
        counts: How often what happened.
        priced: Answers that have no price yet.
        saved: Answers that were not paid and have no price yet.
        valued: What was priced before.
        dearest: The most that one answered call cost, of those priced before; None when no price was known.
    """

    account: Account
    counts: Counter[str] = field(default_factory=Counter)
    priced: Counter[Call] = field(default_factory=Counter)
    saved: Counter[tuple[str, int | None, int | None]] = field(default_factory=Counter)
    valued: Usage | None = None
    dearest: Decimal | None = None


class _Pages(dict[Account, _Page]):
    def __missing__(self, account: Account) -> _Page:
        self[account] = page = _Page(account)
        return page


class Books:
    """Adds up the records of one attempt.

    Args:
        price: What calls cost, where it is known while records arrive: then memory does not grow with their number.
    """

    def __init__(self, price: Price | None = None) -> None:
        self._price = price
        self._pages = _Pages()
        self._closed: list[Usage] | None = None
        self._begin: int | None = None
        self._end: int | None = None

    @classmethod
    def read(cls, lines: Iterable[bytes], price: Price | None = None) -> Self:
        """The books of a segment. A torn line is one the process did not live to finish: what it announced did not happen.

        Args:
            lines: The records.
            price: What calls cost, for books of any length.
        """
        books = cls(price)
        for line in lines:
            try:
                record = json.loads(line)
            except ValueError:
                continue
            books.add(record)
        return books

    def add(self, record: dict[str, Any]) -> None:
        """Take a record in."""
        for at in (record.get("since"), record.get("at")):
            if at is not None:
                self._begin = at if self._begin is None else min(self._begin, at)
                self._end = at if self._end is None else max(self._end, at)
        event = record["event"]
        if event == "closed":
            self._closed = [Usage.from_dict(entry) for entry in record["usage"]]
            return
        account = Account(record["operation"], record["model"], record.get("mechanism", "concurrent"))
        page = self._pages[account]
        if event == "settled" and record["outcome"] in ("answered", "discarded"):
            self.settle(account, Call(**{name: record[name] for name in Call._fields if name in record}))
        elif event == "settled":
            page.counts[record["outcome"]] += 1
        elif event == "saved":
            for input_tokens, output_tokens, answers in record["answers"]:
                page.saved[record["by"], input_tokens, output_tokens] += answers
            self._stay_small(page)
        else:
            page.counts.update({name: record[name] for name in ("calls", "rows", "hits", "duplicates") if name in record})

    def settle(self, account: Account, call: Call) -> None:
        """Take in what became of an answer."""
        page = self._pages[account]
        page.counts[call.outcome] += 1
        page.priced[call] += 1
        if len(page.priced) > _MOST_DISTINCT:
            self._stay_small(page)

    @property
    def is_closed(self) -> bool:
        """Whether the attempt came to its end."""
        return self._closed is not None

    @property
    def period(self) -> Period | None:
        """From when to when it wrote records; None when no record says."""
        return None if self._begin is None or self._end is None else Period(self._begin, self._end)

    def usage(self, price: Price) -> list[Usage]:
        """What was used, by account. An attempt that came to its end keeps the prices it was closed with."""
        if self._closed is not None:
            return self._closed
        return [_usage(page, price) for page in self._pages.values()]

    def _stay_small(self, page: _Page) -> None:
        if self._price is not None and len(page.priced) + len(page.saved) > _MOST_DISTINCT:
            page.valued, page.dearest = _valued(page, self._price)
            page.priced.clear()
            page.saved.clear()


def _usage(page: _Page, price: Price) -> Usage:
    counts = page.counts
    valued, dearest = _valued(page, price)
    in_doubt = counts["calls"] - counts["answered"] - counts["discarded"] - counts["refused"]
    return replace(
        valued,
        rows=counts["rows"],
        hits=counts["hits"],
        duplicates=counts["duplicates"],
        calls=counts["answered"],
        discarded=counts["discarded"],
        refused=counts["refused"],
        possibly_billed=in_doubt,
        possibly_billed_cost_usd=(dearest or Decimal(0)) * in_doubt,
        possibly_billed_without_cost=in_doubt if dearest is None else 0,
    )


def _valued(page: _Page, price: Price) -> tuple[Usage, Decimal | None]:
    """Tokens and money of a page, and what the dearest answered call cost."""
    account = page.account
    sums: dict[str, Any] = defaultdict(int)
    is_batch = account.mechanism == "provider_batch"
    dearest = page.dearest
    for call, calls in page.priced.items():
        sums["input_tokens"] += (call.input_tokens or 0) * calls
        sums["output_tokens"] += (call.output_tokens or 0) * calls
        sums["cached_tokens"] += call.cached_tokens * calls
        sums["written_tokens"] += call.written_tokens * calls
        tokens = call[2:]
        listed = _priced(price, account.model, tokens)
        billed = Decimal(0) if call.billed_as is None else _priced(price, call.billed_as, tokens, is_batch=is_batch)
        for name, amount in (("list", listed), ("billed", billed)):
            sums[f"calls_without_{name}_price"] += calls if amount is None else 0
            sums[f"{name}_cost_usd"] += (amount or 0) * calls
        if billed is not None:
            dearest = billed if dearest is None else max(dearest, billed)
        if call.outcome == "discarded":
            sums["wasted_cost_usd"] += (billed or 0) * calls
        if is_batch and call.billed_as is not None and billed is not None:
            live = _priced(price, call.billed_as, tokens)
            sums["saved_by_batch_usd"] += (live - billed) * calls if live is not None else 0
    for (saving, input_tokens, output_tokens), answers in page.saved.items():
        sums[f"saved_by_{saving}_usd"] += (_priced(price, account.model, (input_tokens, output_tokens, 0, 0, 0)) or 0) * answers
    for name in _AMOUNTS:
        sums[name] = Decimal(sums[name])
    usage = Usage(*account, **sums)
    return usage if page.valued is None else page.valued + usage, dearest


def _priced(price: Price, model: str, tokens: tuple[int | None, int | None, int, int, int], *, is_batch: bool = False) -> Decimal | None:
    input_tokens, output_tokens, cached_tokens, written_tokens, hour_tokens = tokens
    if input_tokens is None or output_tokens is None:
        return None
    written = {"written_tokens": written_tokens, "hour_tokens": hour_tokens}
    return price(model, input_tokens, output_tokens, cached_tokens, **written, is_batch=is_batch)
