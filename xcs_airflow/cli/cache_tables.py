"""What is in a cache, what was removed from it and what it lacks, as text.

It knows how these read; it does not know how they were found out.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from xcs_airflow.plan.text import printable, usd

if TYPE_CHECKING:
    from xcs_airflow.runtime.cache.inventory import Holding, Inventory, Purged
    from xcs_airflow.runtime.cache.misses import Difference, Inquiry, Verdict, Way

_HEADINGS = ("operation", "model", "answers", "tokens in", "tokens out", "size", "oldest", "newest", "worth in USD")
_LEFT_ALIGNED = 2
_KIB = 1024
_AGES = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_ITEMS_SHOWN = 5
_LONGEST_VALUE = 60


def print_inventory(inventory: Inventory, address: str, tenant: str, now: float) -> str:
    """What a tenant has, a row for each origin; the first line sums it up.

    Args:
        inventory: What was found.
        address: Where.
        tenant: Whose it is.
        now: The time, in seconds since 1970.
    """
    total = inventory.total
    whose = f" of {printable(tenant)}" if tenant else ""
    lines = [f"{total.entries:,} answers{whose} in {printable(address)}, {_worth(total)} USD to ask again"]
    if inventory.holdings:
        rows = [_HEADINGS, *(_row(holding, now) for holding in inventory.holdings)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines += ["", *("  ".join(_cells(row, widths)).rstrip() for row in rows)]
    if inventory.unreadable:
        lines += ["", f"{inventory.unreadable:,} entries cannot be read: they are damaged, or encrypted with another key"]
    return "\n".join(lines)


def print_purged(purged: Purged, *, is_dry: bool) -> str:
    """What was removed, or would be; how many of each origin."""
    lines = [f"{purged.entries:,} answers {'would be removed' if is_dry else 'were removed'}"]
    for origin, count in purged.by_origin.most_common():
        lines.append(f"  {count:,} of {printable(origin.model) or 'an unknown model'}, asked by {_names(origin.operations)}")
    return "\n".join(lines)


def print_inquiry(operation: str, inquiry: Inquiry) -> str:
    """Why prompts of an operation have no answer; without prompts, how else the operation was asked.

    Args:
        operation: The operation's id.
        inquiry: What was found.
    """
    ways = {way.recipe: way for way in inquiry.ways}
    lines = [f"{inquiry.entries:,} answers are remembered for the way {printable(operation)} asks now"]
    if not inquiry.verdicts:
        lines += [line for way in inquiry.ways for line in _other_way(way)]
        return "\n".join(lines)
    groups: dict[tuple[str, str | None], list[Verdict]] = defaultdict(list)
    for verdict in inquiry.verdicts:
        groups[verdict.reason, verdict.recipe].append(verdict)
    for (reason, recipe), verdicts in groups.items():
        lines.append(f"{len(verdicts):,} of {len(inquiry.verdicts):,} prompts: {_why(reason, verdicts, inquiry.ttl_s)}{_items(verdicts)}")
        if recipe is not None:
            lines += _changes(ways[recipe].differences)
    return "\n".join(lines)


def _why(reason: str, verdicts: list[Verdict], ttl_s: int | None) -> str:
    if reason == "too_old":
        return f"remembered, and older than {_age(ttl_s or 0)}: up to {_age(max(verdict.age_s or 0 for verdict in verdicts))}"
    return {
        "remembered": "remembered",
        "unreadable": "there is an entry that cannot be read: it is damaged, or encrypted with another key",
        "asked_differently": "the same prompt was asked in another way",
        "never_asked": "this prompt is not in the cache, however it was asked",
    }[reason]


def _other_way(way: Way) -> Iterator[str]:
    yield f"{way.entries:,} are remembered for another way, by {_names(way.operations)}"
    yield from _changes(way.differences)


def _changes(differences: tuple[Difference, ...] | None) -> Iterator[str]:
    if differences is None:
        yield "  how is not on record"
    for difference in differences or ():
        yield f"  {difference.field}: {_value(difference.old)} -> {_value(difference.new)}"


def _items(verdicts: list[Verdict]) -> str:
    names = [verdict.item for verdict in verdicts if verdict.item]
    if not names or verdicts[0].reason == "remembered":
        return ""
    more = f" and {len(names) - _ITEMS_SHOWN:,} more" if len(names) > _ITEMS_SHOWN else ""
    return f" (items {', '.join(names[:_ITEMS_SHOWN])}{more})"


def _value(value: Any) -> str:
    text = "not set" if value is None else printable(json.dumps(value, ensure_ascii=False))
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"


def _names(operations: tuple[str, ...]) -> str:
    return ", ".join(map(printable, operations)) or "an unknown operation"


def _row(holding: Holding, now: float) -> tuple[str, ...]:
    return (
        ", ".join(map(printable, holding.operations)) or "?",
        printable(holding.model) or "?",
        f"{holding.entries:,}",
        f"{holding.input_tokens:,}",
        f"{holding.output_tokens:,}",
        _size(holding.text_bytes),
        _age(now - holding.oldest) if holding.oldest is not None else "",
        _age(now - holding.newest) if holding.newest is not None else "",
        _worth(holding),
    )


def _cells(row: tuple[str, ...], widths: list[int]) -> Iterator[str]:
    for number, (cell, width) in enumerate(zip(row, widths, strict=True)):
        yield cell.ljust(width) if number < _LEFT_ALIGNED else cell.rjust(width)


def _worth(holding: Holding) -> str:
    if holding.entries and holding.entries_without_price == holding.entries:
        return "unknown"
    amount = usd(Decimal(holding.worth_usd))
    return f"at least {amount}" if holding.entries_without_price else amount


def _size(text_bytes: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if text_bytes < _KIB or unit == "GiB":
            break
        text_bytes /= _KIB
    return f"{text_bytes:,.0f} {unit}" if unit == "B" else f"{text_bytes:,.1f} {unit}"


def _age(seconds: float) -> str:
    for size, unit in _AGES:
        if seconds >= 2 * size or size == 1:
            return f"{max(0, seconds) // size:,.0f} {unit}"
    raise AssertionError
