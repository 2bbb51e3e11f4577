"""What a run was expected to use and what it used, side by side.

It knows how the two read; it does not know how either was found out.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from xcs_airflow.plan.cloud_graph import Totals
from xcs_airflow.plan.text import seconds, usd

if TYPE_CHECKING:
    from xcs_airflow.runtime.books import Usage


def print_summary(expected: Totals, used: Usage, duration_s: float) -> str:
    """Estimate and use as a table of two rows, and what kept the second one low.

    Args:
        expected: The plan's totals, for a run with an empty cache.
        used: The books of the run, added up.
        duration_s: How long this start of it took.
    """
    rows = [
        ("", "calls", "tokens in", "tokens out", "time", "cost in USD"),
        (
            "estimated",
            f"{expected.calls:,}",
            f"{expected.input_tokens.expected:,.0f}",
            f"{expected.output_tokens.expected:,.0f}",
            seconds(expected.duration_s.expected),
            _at_least(expected.cost_usd.expected, is_complete=expected.cost_usd.is_complete),
        ),
        ("used", f"{used.calls:,}", f"{used.input_tokens:,}", f"{used.output_tokens:,}", seconds(duration_s), _paid(used)),
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join([name.ljust(widths[0]), *map(str.rjust, cells, widths[1:])]) for name, *cells in rows]
    return "\n".join([*lines, *_remarks(used)])


def billed(used: Usage) -> str:
    """What was paid: a lower bound says that it is one, and what nobody knows is unknown."""
    return known_cost(used.billed_cost_usd, used.calls_without_billed_price, used.calls + used.discarded)


def listed(used: Usage) -> str:
    """What it would have cost by the price list, likewise."""
    return known_cost(used.list_cost_usd, used.calls_without_list_price, used.calls + used.discarded)


def known_cost(amount: Decimal, unknown: int, calls: int) -> str:
    """An amount that so many of the calls are missing in."""
    if unknown and unknown == calls:
        return "unknown"
    return _at_least(amount, is_complete=not unknown)


def _paid(used: Usage) -> str:
    if used.billed_cost_usd == used.list_cost_usd:
        return billed(used)
    return f"{billed(used)} (by the price list {listed(used)})"


def _at_least(amount: Decimal, *, is_complete: bool) -> str:
    return usd(amount) if is_complete else f"at least {usd(amount)}"


def _remarks(used: Usage) -> list[str]:
    remarks = [f"{used.hits:,} answers came from the cache, {used.duplicates:,} were shared with an equal question"]
    if used.saved_usd:
        by_batch = f", {usd(used.saved_by_batch_usd)} of it by batch prices" if used.saved_by_batch_usd else ""
        remarks.append(f"saved {usd(used.saved_usd)} USD{by_batch}")
    if used.discarded:
        remarks.append(f"wasted {usd(used.wasted_cost_usd)} USD on {used.discarded:,} answers that could not be used")
    if used.possibly_billed:
        price = known_cost(used.possibly_billed_cost_usd, used.possibly_billed_without_cost, used.possibly_billed)
        remarks.append(f"{used.possibly_billed:,} calls may have been billed, although no answer came: {price} USD")
    return remarks
