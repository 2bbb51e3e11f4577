"""The books of an attempt, kept while it runs: what is written down when, and what survives the end of the process.

It knows writing; `books.py` knows what records say and how they add up.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal

from xcs_airflow.runtime.books import Account, Books, Call, Outcome, Price, Saving, Usage
from xcs_airflow.runtime.models.provider import ModelAnswer
from xcs_airflow.runtime.store import Appender

_TEXT = json.JSONEncoder().encode


class Ledger:
    """The books of an attempt, kept while it runs. Any thread may write; a record survives the end of the process once flushed.

    Attributes:
        is_kept: Whether records are taken at all.

    Args:
        open_appender: Opens the segment, which happens with the first flush; None keeps the books in memory only.
        price: What calls cost, where it is known before the end: then memory does not grow with the number of calls.
    """

    is_kept = True

    def __init__(self, open_appender: Callable[[], Appender] | None = None, price: Price | None = None) -> None:
        self._open = open_appender
        self._appender: Appender | None = None
        self._began = _now()
        self._books = Books(price)
        self._lines: list[str] = []
        self._begun: dict[tuple[Account, str, str | None], str] = {}
        self._lock = threading.Lock()

    @property
    def calls_per_intent(self) -> int:
        """How many calls one intent should announce; more than 1 where keeping a record is slow."""
        with self._lock:
            appender = self._opened()
        return appender.lines_per_flush if appender else 1

    def intend(self, account: Account, calls: int) -> None:
        """Write down that calls are going to be made. They may begin after the next `flush`."""
        self._record("intent", account, calls=calls, at=_now())

    def flush(self) -> None:
        """Keep what was written, whatever happens to this process."""
        with self._lock:
            appender = self._written()
        if appender is not None:
            appender.flush()

    def settled(self) -> None:
        """Keep settlements, unless that is slow: then they wait for the next intent or the end."""
        if self.calls_per_intent == 1:
            self.flush()

    def give_back(self, account: Account, calls: int) -> None:
        """Write down that intended calls were not made."""
        if calls:
            self._record("intent", account, calls=-calls)

    def settle(self, account: Account, answer: ModelAnswer, outcome: Outcome, *, billed_as: str | None, seconds: float) -> None:
        """Write down what became of an answer. An answer that is used was given to the cache before.

        Args:
            account: Who asked whom.
            answer: What came.
            outcome: Whether it was used.
            billed_as: The model whose price is paid; None when nothing is paid.
            seconds: How long it took.
        """
        tokens = answer.input_tokens, answer.output_tokens, answer.cached_tokens, answer.written_tokens, answer.hour_tokens
        call = Call(outcome, billed_as, *tokens)
        with self._lock:
            self._books.settle(account, call)
            if self._open is not None:
                self._lines.append(self._settlement(account, call, seconds))

    def fail(self, account: Account, outcome: Literal["refused", "unknown"], reason: str) -> None:
        """Write down that a call was not answered: it is not billed, or nobody knows."""
        self._record("settled", account, outcome=outcome, reason=reason)

    def note(self, account: Account, *, rows: int, hits: int, duplicates: int, shape: str | None = None, pack: int = 1) -> None:
        """Write down how many answers were needed and how many came without a call.

        Args:
            account: Who needed them.
            rows: How many.
            hits: Of these, from the cache.
            duplicates: Of these, shared with an equal request.
            shape: What the requests have in common, as `ModelCall.shape` has it; None where no step of a run asks.
            pack: How many items are asked in one request, at most.
        """
        facts: dict[str, Any] = {} if shape is None else {"shape": shape, "pack": pack}
        self._record("rows", account, rows=rows, hits=hits, duplicates=duplicates, **facts)

    def save(self, account: Account, by: Saving, answers: Mapping[tuple[int | None, int | None], int]) -> None:
        """Write down what was not paid: how many answers of how many input and output tokens."""
        if answers:
            self._record("saved", account, by=by, answers=[[*tokens, count] for tokens, count in answers.items()])

    def close(self, price: Price) -> list[Usage]:
        """Put a price on everything and end the segment; what comes later is not kept."""
        with self._lock:
            usage = self._books.usage(price)
            if usage and self._open is not None:
                period = {"since": self._began, "at": _now()}
                self._lines.append(_TEXT({"event": "closed", **period, "usage": [entry.to_dict() for entry in usage]}))
            appender = self._written()
            self._appender = self._open = None
        if appender is not None:
            appender.close()
        return usage

    def _record(self, event: str, account: Account, **facts: Any) -> None:
        with self._lock:
            self._books.add({"event": event, **account._asdict(), **facts})
            self._keep(event, account, facts)

    def _keep(self, event: str, account: Account, facts: Mapping[str, Any]) -> None:
        if self._open is not None:
            self._lines.append(_TEXT({"event": event, **account._asdict(), **facts}))

    def _settlement(self, account: Account, call: Call, seconds: float) -> str:
        """The line of an answer, of which there are millions: only numbers differ from one to the next."""
        known = account, call.outcome, call.billed_as
        if known not in self._begun:
            words = {"event": "settled", **account._asdict(), "outcome": call.outcome, "billed_as": call.billed_as}
            self._begun[known] = _TEXT(words)[:-1]
        tokens = f'"input_tokens": {_number(call.input_tokens)}, "output_tokens": {_number(call.output_tokens)}'
        if call.written_tokens:
            tokens += f', "written_tokens": {call.written_tokens}, "hour_tokens": {call.hour_tokens}'
        return f'{self._begun[known]}, {tokens}, "cached_tokens": {call.cached_tokens}, "seconds": {seconds:.3f}}}'

    def _written(self) -> Appender | None:
        """Hand over what waits. Nothing is opened for books in which nothing stands."""
        if self._lines:
            appender = self._opened()
            lines, self._lines = self._lines, []
            if appender is not None:
                appender.write(*(line.encode() for line in lines))
        return self._appender

    def _opened(self) -> Appender | None:
        if self._appender is None and self._open is not None:
            self._appender = self._open()
        return self._appender


def _now() -> int:
    """For people and bills. No sum and no decision depends on it."""
    return int(time.time())


def _number(count: int | None) -> str:
    return "null" if count is None else str(count)


class _Unkept(Ledger):
    """Books in which nothing is written."""

    is_kept = False

    def settle(self, account: Account, answer: ModelAnswer, outcome: Outcome, *, billed_as: str | None, seconds: float) -> None:
        """Forget it."""

    def _record(self, event: str, account: Account, **facts: Any) -> None:
        """Forget it."""


_NOBODYS = _Unkept()
_CURRENT: ContextVar[Ledger | None] = ContextVar("xcs_airflow.runtime.ledger", default=None)


def current_ledger() -> Ledger:
    """The books of the task that runs here; outside of a task, books that nobody keeps."""
    return _CURRENT.get() or _NOBODYS


@contextmanager
def keeping_books(ledger: Ledger) -> Iterator[Ledger]:
    """Let calls that functions of the pipeline make by themselves be written into these books, too."""
    token = _CURRENT.set(ledger)
    try:
        yield ledger
    finally:
        _CURRENT.reset(token)
