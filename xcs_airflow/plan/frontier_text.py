"""A choice of plans as text.

It knows how a table of them reads; it does not know how they were found.
"""

from __future__ import annotations

from collections.abc import Sequence

from xcs_airflow.plan.frontier import Plan
from xcs_airflow.plan.text import printable, seconds, usd

_HEADINGS = ("cost in USD", "time", "requests", "made", "what to write")
_WORDS = {"concurrent": "live", "packed": "packed", "provider_batch": "batch API", "alone": "one by one"}


def print_frontier(name: str, plans: Sequence[Plan]) -> str:
    """Plans as text, without a final line end: one a line, and what to write to get it.

    Args:
        name: The pipeline's.
        plans: From the cheapest to the quickest.
    """
    count = f"{len(plans)} plans, each cheaper or quicker than every other" if len(plans) > 1 else "one plan that no other one beats"
    rows = [_cells(plan) for plan in plans]
    widths = [max(map(len, column)) for column in zip(_HEADINGS[:-1], *(row[:-1] for row in rows), strict=True)]
    lines = []
    for *numbers, ways, knobs in (_HEADINGS, *rows):
        aligned = [cell.rjust(width) for cell, width in zip(numbers, widths, strict=False)]
        lines.append("  ".join([*aligned, ways.ljust(widths[-1]), knobs]).rstrip())
    return "\n".join([f"{printable(name)}: {count}", "", *lines])


def _cells(plan: Plan) -> tuple[str, ...]:
    cost = f"at least {usd(plan.cost_usd.expected)}" if plan.cost_usd.unknown else usd(plan.cost_usd.expected)
    ways = ", ".join(f"{count} {_WORDS[way]}" if len(plan.mechanisms) > 1 else _WORDS[way] for way, count in plan.mechanisms.items())
    return cost, seconds(plan.duration_s.expected), f"{plan.calls:,}", ways, printable("; ".join(plan.knobs)) or "nothing, it is as it is"
