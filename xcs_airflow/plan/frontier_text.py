"""A choice of plans as text.

It knows how a table of them reads; it does not know how they were found.
"""

from __future__ import annotations

from collections.abc import Sequence

from xcs_airflow.plan.frontier import Plan
from xcs_airflow.plan.text import printable, seconds, usd

_HEADINGS = ("cost in USD", "machines", "time", "requests", "made", "what to write")
_MACHINES = _HEADINGS.index("machines")
_WORDS = {"concurrent": "live", "packed": "packed", "provider_batch": "batch API", "alone": "one by one"}


def print_frontier(name: str, plans: Sequence[Plan], target: str | None = None) -> str:
    """Plans as text, without a final line end: one a line, and what to write to get it.

    Args:
        name: The pipeline's.
        plans: From the cheapest to the quickest.
        target: For which platform they are; None for all alike. Where it is known what its machines cost, that is part of the cost.
    """
    count = f"{len(plans)} plans, each cheaper or quicker than every other" if len(plans) > 1 else "one plan that no other one beats"
    rows = [_HEADINGS, *(_cells(plan) for plan in plans)]
    if not any(row[_MACHINES] for row in rows[1:]):
        rows = [(*row[:_MACHINES], *row[_MACHINES + 1 :]) for row in rows]
    widths = [max(map(len, column)) for column in zip(*(row[:-1] for row in rows), strict=True)]
    lines = []
    for *numbers, ways, knobs in rows:
        aligned = [cell.rjust(width) for cell, width in zip(numbers, widths, strict=False)]
        lines.append("  ".join([*aligned, ways.ljust(widths[-1]), knobs]).rstrip())
    where = "" if target is None else f" on {target}"
    return "\n".join([f"{printable(name)}{where}: {count}", "", *lines])


def _cells(plan: Plan) -> tuple[str, ...]:
    machines = plan.compute_usd if plan.compute_usd is not None and plan.compute_usd.is_complete else None
    total = plan.cost_usd if machines is None else plan.whole_usd
    ways = ", ".join(f"{count} {_WORDS[way]}" if len(plan.mechanisms) > 1 else _WORDS[way] for way, count in plan.mechanisms.items())
    return (
        f"at least {usd(total.expected)}" if total.unknown else usd(total.expected),
        "" if machines is None else usd(machines.expected),
        seconds(plan.duration_s.expected),
        f"{plan.calls:,}",
        ways,
        printable("; ".join(plan.knobs)) or "nothing, it is as it is",
    )
