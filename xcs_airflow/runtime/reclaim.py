"""What attempts that are dead have of a run's budget and did not spend: their books say it, once nobody spends for them any more.

It knows when that is and what books prove; it does not know who needs the money.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from xcs_airflow.runtime.allotments import Allotment, Allotments, SharedAllotments
from xcs_airflow.runtime.books import Books, Price
from xcs_airflow.runtime.segments import books_of
from xcs_airflow.runtime.store import Store

_DEAD_AFTER_LEASES = 1.5
"""An attempt stops spending one lease after it asked; who watches begins later, and waits longer. No two clocks are compared."""

_NOTHING = Decimal(0)


class Others:
    """Watches the other attempts of a run.

    Args:
        store: Where their books lie.
        ledger: The folder of the run's books.
        own: The name of the attempt that watches.
        shared: What they have.
        price: What calls cost.
        clock: Seconds.
    """

    def __init__(self, store: Store, ledger: str, own: str, shared: SharedAllotments, price: Price, clock: Callable[[], float]) -> None:
        self._store = store
        self._ledger = ledger
        self._own = own
        self._shared = shared
        self._price = price
        self._clock = clock
        self._seen: dict[str, tuple[int, float]] = {}
        self._valued: dict[str, int] = {}

    def alive(self, shares: Allotments) -> list[Allotment]:
        """What those have who may give something back by themselves."""
        return [entry for name, entry in shares.attempts.items() if name != self._own and self._valued.get(name) != entry.beat]

    def revalue(self, shares: Allotments) -> bool:
        """Take from attempts whose lease is over what they did not spend.

        Args:
            shares: What everybody has now.

        Returns:
            Whether there was any.
        """
        now = self._clock()
        is_freed = False
        for name, entry in shares.attempts.items():
            beat, since = self._seen.get(name, (None, now))
            if beat != entry.beat:
                self._seen[name] = entry.beat, now
            elif name != self._own and now - since >= entry.lease_s * _DEAD_AFTER_LEASES and self._valued.get(name) != beat:
                self._valued[name] = entry.beat
                is_freed |= self._lower(name, entry)
        return is_freed

    def _lower(self, name: str, entry: Allotment) -> bool:
        """Leave an attempt what its books allow. If it lives after all, it asks again before it spends more than that."""
        books = books_of(self._store, f"{self._ledger}/{name}", self._price)
        bound = spent_at_most(books, self._price, entry.largest_usd, entry.usd)

        def lower(shares: Allotments) -> Allotments:
            found = shares.attempts.get(name)
            if found is None or found.beat != entry.beat:
                return shares
            if books.is_closed:
                return shares.without_attempt(name, bound)
            return shares.with_attempt(name, found.model_copy(update={"usd": bound})) if bound != found.usd else shares

        self._shared.change(lower)
        return bound < entry.usd


def spent_at_most(books: Books, price: Price, largest_usd: Decimal, given_usd: Decimal | None = None) -> Decimal:
    """What an attempt that does not spend any more has spent at most, by its books.

    What they priced is what it was. A call that was possibly billed, or whose price nobody knows, cost the largest worst case at
    most, and all of these together no more than what the attempt was given. Batches are not its own: they are held by name.

    Args:
        books: Of the attempt.
        price: What calls cost.
        largest_usd: The largest worst case of its calls.
        given_usd: What it was given; None when there was no limit.
    """
    known, unknown = _NOTHING, 0
    for usage in books.usage(price):
        if usage.mechanism != "provider_batch":
            known += usage.billed_cost_usd
            unknown += max(usage.possibly_billed, 0) + usage.calls_without_billed_price
    rest = unknown * largest_usd
    return known + (rest if given_usd is None else min(rest, max(given_usd - known, _NOTHING)))
