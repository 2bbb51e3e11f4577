"""The books of a run: an intent before every paid call, a settlement after it, and what was saved.

It knows records and how they add up; it does not know where prices come from. A call whose settlement is missing, because the
process died or the connection broke, is shown as possibly billed, never as free.
"""

from __future__ import annotations

import json
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field, fields, replace
from decimal import Decimal
from typing import Any, Literal, Self

from xcs_airflow.runtime.models.provider import ModelAnswer
from xcs_airflow.runtime.store import Appender

Price = Callable[[str, int, int, int], Decimal | None]
"""Model, input, output and cached tokens to US dollars; None when nobody knows."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one operation used of one model.

    Attributes:
        operation: The operation's id.
        model: The model, as the pipeline names it.
        rows: Answers that were needed.
        hits: Of these, from the cache.
        duplicates: Of these, shared with an equal request of the same run: calls avoided.
        calls: Calls that were answered.
        refused: Calls that were not, and are not billed.
        possibly_billed: Calls of which nobody knows.
        input_tokens: Of the answered calls, as far as the provider said.
        output_tokens: Likewise.
        cached_tokens: Input tokens that the provider had in its own prompt cache.
        list_cost_usd: What the answered calls cost by the price list, without those whose price is unknown.
        billed_cost_usd: What they cost on this route.
        calls_without_list_price: Answered calls that are missing in `list_cost_usd`.
        calls_without_billed_price: Answered calls that are missing in `billed_cost_usd`.
    """

    operation: str
    model: str
    rows: int = 0
    hits: int = 0
    duplicates: int = 0
    calls: int = 0
    refused: int = 0
    possibly_billed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    list_cost_usd: Decimal = Decimal(0)
    billed_cost_usd: Decimal = Decimal(0)
    calls_without_list_price: int = 0
    calls_without_billed_price: int = 0

    def __add__(self, other: Usage) -> Usage:
        sums = {name: getattr(self, name) + getattr(other, name) for name in _COUNTS}
        return replace(self, **sums)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form: money as decimal text, None when nothing of it is known."""
        costs = {
            "list_cost_usd": _shown(self.list_cost_usd, self.calls_without_list_price, self.calls),
            "billed_cost_usd": _shown(self.billed_cost_usd, self.calls_without_billed_price, self.calls),
        }
        return {**asdict(self), **costs}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read the JSON form."""
        costs = {name: Decimal(data[name] or 0) for name in ("list_cost_usd", "billed_cost_usd")}
        return cls(**{**data, **costs})


_COUNTS = tuple(entry.name for entry in fields(Usage) if entry.name not in ("operation", "model"))


def _shown(amount: Decimal, unknown: int, calls: int) -> str | None:
    return None if unknown and unknown == calls else f"{amount:f}"


def total(usages: Iterable[Usage]) -> Usage:
    """The sum of all, in the name of no operation."""
    return sum(usages, start=Usage("", ""))


@dataclass(slots=True)
class _Account:
    """The records of one operation and model, as they add up."""

    counts: Counter[str] = field(default_factory=Counter)
    priced: Counter[tuple[str | None, int | None, int | None, int]] = field(default_factory=Counter)


class Books:
    """Adds up the records of one attempt."""

    def __init__(self) -> None:
        self._accounts: dict[tuple[str, str], _Account] = defaultdict(_Account)
        self._closed: list[Usage] | None = None

    @classmethod
    def read(cls, lines: Iterable[bytes]) -> Self:
        """The books of a segment. A torn line is one the process did not live to finish: what it announced did not happen."""
        books = cls()
        for line in lines:
            try:
                books.add(json.loads(line))
            except ValueError:
                continue
        return books

    def add(self, record: dict[str, Any]) -> None:
        """Take a record in."""
        if record["event"] == "closed":
            self._closed = [Usage.from_dict(entry) for entry in record["usage"]]
            return
        account = self._accounts[record["operation"], record["model"]]
        if record["event"] == "settled":
            account.counts[record["outcome"]] += 1
            if record["outcome"] == "answered":
                account.priced[record["billed_as"], record["input_tokens"], record["output_tokens"], record["cached_tokens"]] += 1
        else:
            account.counts.update({name: record[name] for name in ("calls", "rows", "hits", "duplicates") if name in record})

    def usage(self, price: Price) -> list[Usage]:
        """What was used, by operation and model. An attempt that came to its end keeps the prices it was closed with."""
        if self._closed is not None:
            return self._closed
        return [_usage(operation, model, account, price) for (operation, model), account in self._accounts.items()]


def _usage(operation: str, model: str, account: _Account, price: Price) -> Usage:
    counts = account.counts
    sums: dict[str, Any] = defaultdict(int)
    for (billed_as, given, made, cached), calls in account.priced.items():
        sums["input_tokens"] += (given or 0) * calls
        sums["output_tokens"] += (made or 0) * calls
        sums["cached_tokens"] += cached * calls
        for name, payer in (("list", model), ("billed", billed_as)):
            amount = Decimal(0) if payer is None else None if given is None or made is None else price(payer, given, made, cached)
            if amount is None:
                sums[f"calls_without_{name}_price"] += calls
            else:
                sums[f"{name}_cost_usd"] += amount * calls
    return Usage(
        operation,
        model,
        rows=counts["rows"],
        hits=counts["hits"],
        duplicates=counts["duplicates"],
        calls=counts["answered"],
        refused=counts["refused"],
        possibly_billed=counts["calls"] - counts["answered"] - counts["refused"],
        **sums,
    )


class Ledger:
    """The books of an attempt, kept while it runs. Any thread may write.

    Args:
        open_appender: Opens the segment, which happens with the first record; None keeps the books in memory only.
    """

    def __init__(self, open_appender: Callable[[], Appender] | None = None) -> None:
        self._open = open_appender
        self._appender: Appender | None = None
        self._books = Books()
        self._lock = threading.Lock()

    @property
    def calls_per_intent(self) -> int:
        """How many calls one intent should announce; more than 1 where keeping a record is slow."""
        appender = self._opened()
        return appender.lines_per_flush if appender else 1

    def intend(self, operation: str, model: str, calls: int) -> None:
        """Write down that calls are going to be made. The intent is kept, whatever happens, after the next `flush`."""
        self._record({"event": "intent", "operation": operation, "model": model, "calls": calls})

    def flush(self) -> None:
        """Keep what was written. Not needed when `calls_per_intent` is 1: then every record is kept at once."""
        if self._appender is not None:
            self._appender.flush()

    def give_back(self, operation: str, model: str, calls: int) -> None:
        """Write down that intended calls were not made."""
        if calls:
            self._record({"event": "intent", "operation": operation, "model": model, "calls": -calls})

    def settle(self, operation: str, model: str, billed_as: str | None, answer: ModelAnswer, seconds: float) -> None:
        """Write down an answer.

        Args:
            operation: Who asked.
            model: The model it asked for.
            billed_as: The model whose price is paid; None when nothing is paid.
            answer: What came.
            seconds: How long it took.
        """
        tokens = {"input_tokens": answer.input_tokens, "output_tokens": answer.output_tokens, "cached_tokens": answer.cached_tokens}
        what = {"operation": operation, "model": model, "outcome": "answered", "billed_as": billed_as}
        self._record({"event": "settled", **what, **tokens, "seconds": round(seconds, 3)})

    def fail(self, operation: str, model: str, outcome: Literal["refused", "unknown"], reason: str) -> None:
        """Write down that a call was not answered: it is not billed, or nobody knows."""
        self._record({"event": "settled", "operation": operation, "model": model, "outcome": outcome, "reason": reason})

    def note(self, operation: str, model: str, *, rows: int, hits: int, duplicates: int) -> None:
        """Write down how many answers were needed and how many came without a call."""
        self._record({"event": "rows", "operation": operation, "model": model, "rows": rows, "hits": hits, "duplicates": duplicates})

    def close(self, price: Price) -> list[Usage]:
        """Put a price on everything and end the segment; what comes later is not kept."""
        usage = self._books.usage(price)
        with self._lock:
            appender, self._appender, self._open = self._appender, None, None
        if appender is not None:
            appender.write(json.dumps({"event": "closed", "usage": [entry.to_dict() for entry in usage]}).encode())
            appender.close()
        return usage

    def _record(self, record: dict[str, Any]) -> None:
        with self._lock:
            self._books.add(record)
        appender = self._opened()
        if appender is not None:
            appender.write(json.dumps(record).encode())

    def _opened(self) -> Appender | None:
        with self._lock:
            if self._appender is None and self._open is not None:
                self._appender = self._open()
            return self._appender


_CURRENT: ContextVar[Ledger | None] = ContextVar("xcs_airflow.runtime.ledger", default=None)


def current_ledger() -> Ledger:
    """The books of the task that runs here; outside of a task, books that nobody keeps."""
    return _CURRENT.get() or Ledger()


@contextmanager
def keeping_books(ledger: Ledger) -> Iterator[Ledger]:
    """Let calls that functions of the pipeline make by themselves be written into these books, too."""
    token = _CURRENT.set(ledger)
    try:
        yield ledger
    finally:
        _CURRENT.reset(token)
