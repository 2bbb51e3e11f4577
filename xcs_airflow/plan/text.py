"""The printed form of a plan: what a run costs, where its parts run, and why, in at most 118 columns.

It knows how figures read; it does not compute any.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import NamedTuple, Self

from xcs_airflow.cost.figures import Figure, Money
from xcs_airflow.ir.graph import Decision
from xcs_airflow.plan.accuracy_text import profile_lines
from xcs_airflow.plan.cloud_graph import CloudGraph, PlannedOperation, PlannedTask

WIDTH = 118

_GAP = 2
_SHORTEST_NAME = 8
_HEADINGS = ("operation", "model", "calls", "tokens", "cost in USD", "time", "decisions", "where")
_SOURCE = re.compile(r" \[[^\]]*\]$")
_MECHANISMS = {"concurrent": "batched", "packed": "packed", "provider_batch": "batch API"}
_IS_RIGHT = (False, False, True, True, False, True, False, False)


def print_plan(plan: CloudGraph) -> str:
    """A plan as text, without a final line end.

    The first line tells the cost; it begins with `at least` when a price is not known.
    """
    parts = [
        [f"{printable(plan.name)}: {cost_sentence(plan.totals.cost_usd)}", *_head(plan)],
        _table(plan),
        _section("decisions", _decisions(plan.decisions)),
        _section("assumptions (--format json has their sources)", [_SOURCE.sub("", sentence) for sentence in plan.assumptions]),
        [*([] if plan.profile is None else profile_lines(plan.profile, usd)), f"prices: {_prices(plan)}"],
    ]
    return "\n\n".join("\n".join(lines) for lines in parts if lines)


def cost_sentence(cost: Money) -> str:
    """What a run costs, in one line; a lower bound says that it is one."""
    if cost.unknown:
        models = ", ".join(printable(name) for name in cost.unknown)
        return f"at least {usd(cost.expected)} USD per run, because no price is known for {models}"
    if cost.low == cost.high:
        return f"{usd(cost.expected)} USD per run"
    return f"{usd(cost.expected)} USD per run expected ({usd(cost.low)} to {usd(cost.high)})"


def usd(amount: Decimal) -> str:
    """An amount with as many digits as matter: `1,234.50`, `0.0201`, `0.000012`."""
    if amount >= 1:
        return f"{amount:,.2f}"
    if amount >= Decimal("0.001"):
        return f"{amount:.4f}"
    return f"{amount:.{1 - amount.adjusted()}f}" if amount else "0"


def seconds(duration: float) -> str:
    """A duration in the two largest units that matter: `1.1 s`, `42 s`, `3 min 44 s`, `2 h 5 min`."""
    if 0 < duration < 9.95:  # noqa: PLR2004  # what would read as 10.0
        return f"{duration:.1f} s"
    whole = round(duration)
    for size, unit, part_size, part_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // part_size
            return f"{whole // size} {unit}" + (f" {rest} {part_unit}" if rest else "")
    return f"{whole} s"


def duration_range(duration: Figure) -> str:
    """A duration with its range, if it has one."""
    if duration.low == duration.high:
        return seconds(duration.expected)
    return f"{seconds(duration.expected)} ({seconds(duration.low)} to {seconds(duration.high)})"


def change(before: int, after: int) -> str:
    """A number and what the passes made of it."""
    return f"{before:,}" if before == after else f"{before:,} → {after:,}"


def printable(text: str) -> str:
    """Text that a terminal prints and does not obey."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def savings(group: Sequence[Decision]) -> str:
    """What decisions are expected to save together and what they trade for it, as the end of a sentence; empty when nobody knows."""
    money = [decision.saves_usd for decision in group if decision.saves_usd]
    time = [decision.saves_s for decision in group if decision.saves_s]
    saved_usd, saved_s = sum(money, Decimal(0)), sum(time)
    shown = ((float(saved_usd), f"{usd(abs(saved_usd))} USD"), (saved_s, seconds(abs(saved_s))))
    saved, traded = ([text for amount, text in shown if amount * sign > 0] for sign in (1, -1))
    return (f"; saves {' and '.join(saved)}" if saved else "") + (f"; takes {' and '.join(traded)} more" if traded else "")


def _head(plan: CloudGraph) -> Iterator[str]:
    totals, policy = plan.totals, plan.policy
    tokens = f"{totals.input_tokens.expected:,.0f} tokens in and {totals.output_tokens.expected:,.0f} out"
    yield f"{change(totals.calls_before, totals.calls)} model calls, {tokens}, {duration_range(totals.duration_s)}"
    facts = [
        f"for {plan.target}" if plan.target else "",
        f"{_count(totals.tasks, 'task')} in {_count(totals.starts, 'start')}{_machines(totals.compute_usd)}",
        f"runs at {policy.schedule} ({policy.timezone})" if policy.schedule else "",
        f"budget {usd(policy.budget_usd)} USD" if policy.budget_usd is not None else "",
        f"deadline {seconds(policy.deadline_s)}" if policy.deadline_s is not None else "",
        f"from {plan.source}" if plan.source else "",
    ]
    yield printable(", ".join(fact for fact in facts if fact))


def _machines(cost: Money | None) -> str:
    """What the machines cost, after the number of starts; empty where nobody knows."""
    return "" if cost is None or cost.unknown else f", whose machines cost {usd(cost.expected)} USD more"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _table(plan: CloudGraph) -> list[str]:
    tasks = {task.id: task for task in plan.tasks}
    totals = plan.totals
    rows = [_cells(operation, is_probed=operation.task in plan.probe_of) for operation in plan.operations]
    total = (
        "total",
        "",
        change(totals.calls_before, totals.calls),
        _tokens(totals.input_tokens, totals.output_tokens),
        _cost(totals.cost_usd),
        seconds(totals.duration_s.expected),
        "",
    )
    places = [_Place.of(tasks[operation.task]) for operation in plan.operations]
    room = WIDTH - max((place.least_width for place in places), default=0)
    rows = _narrowed(rows, room - sum(_widths(rows, total)[2:]) - _GAP * len(total))
    widths = _widths(rows, total)
    room = WIDTH - sum(widths) - _GAP * len(widths)
    lines = [(*cells, place.text(room)) for cells, place in zip(rows, places, strict=True)]
    return [_line(cells, widths) for cells in (_HEADINGS, *lines, (*total, ""))]


def _widths(rows: Sequence[Sequence[str]], total: Sequence[str]) -> list[int]:
    return [max(map(len, column)) for column in zip(_HEADINGS[:-1], *rows, total, strict=True)]


def _narrowed(rows: Sequence[Sequence[str]], room: int) -> list[tuple[str, ...]]:
    """Rows whose operation and model fit side by side: the longer names give way, down to a length that still tells something."""
    lengths = [max([len(heading), *(len(row[index]) for row in rows)]) for index, heading in enumerate(_HEADINGS[:2])]
    limit = max(lengths)
    while limit > _SHORTEST_NAME and sum(min(length, limit) for length in lengths) > room:
        limit -= 1
    return [(_shorten(row[0], limit), _shorten(row[1], limit), *row[2:]) for row in rows]


class _Place(NamedTuple):
    """Where an operation runs: the task, which may be shortened, and the rest, which may not."""

    task: str
    rest: str

    @classmethod
    def of(cls, task: PlannedTask) -> Self:
        shards = f" ×{task.shards}" if task.shards > 1 else ""
        return cls(task.id, shards + (f", {task.in_flight} at once" if task.in_flight > 1 else ""))

    @property
    def least_width(self) -> int:
        return min(len(self.task), _SHORTEST_NAME) + len(self.rest)

    def text(self, room: int) -> str:
        return _shorten(self.task, max(_SHORTEST_NAME, room - len(self.rest))) + self.rest


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    aligned = [
        cell.rjust(width) if is_right else cell.ljust(width) for cell, width, is_right in zip(cells, (*widths, 0), _IS_RIGHT, strict=True)
    ]
    return (" " * _GAP).join(aligned).rstrip()


def _cells(operation: PlannedOperation, *, is_probed: bool) -> tuple[str, ...]:
    entry = operation.estimate
    is_llm = operation.kind == "llm"
    done = [_MECHANISMS[operation.mechanism]] if operation.mechanism else []
    done = [*(["cached"] if operation.is_cached else []), *done, *(["probed"] if is_probed else [])]
    return (
        operation.id,
        printable((operation.model or "").rpartition("/")[2]),
        change(entry.calls_before, entry.calls) if is_llm else "",
        _tokens(entry.input_tokens, entry.output_tokens) if is_llm else "",
        _cost(entry.cost_usd) if is_llm else "",
        seconds(entry.duration_s.expected),
        ", ".join(done),
    )


def _tokens(into: Figure, out: Figure) -> str:
    return f"{_rounded(into.expected)}/{_rounded(out.expected)}"


def _rounded(number: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.1f}{unit}"
    return f"{number:.0f}"


def _cost(cost: Money) -> str:
    if cost.unknown:
        return f"at least {usd(cost.expected)}" if cost.expected else "unknown"
    return usd(cost.expected) if cost.low == cost.high else f"{usd(cost.expected)} ({usd(cost.low)}–{usd(cost.high)})"


def _shorten(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _decisions(decisions: Sequence[Decision]) -> list[str]:
    """One sentence for all operations that a pass treated alike."""
    alike: dict[tuple[str, str, str], list[Decision]] = {}
    for decision in decisions:
        alike.setdefault((decision.pass_name, decision.action, decision.reason), []).append(decision)
    return [
        f"{name} {'for' if action == 'applied' else 'not for'} {_names(group)}: {printable(reason)}{savings(group)}"
        for (name, action, reason), group in alike.items()
    ]


def _names(group: Sequence[Decision]) -> str:
    shown = ", ".join("the whole graph" if decision.operation == "*" else decision.operation for decision in group[:5])
    return shown + (f" and {len(group) - 5:,} more" if len(group) > 5 else "")  # noqa: PLR2004  # as many as are shown


def _section(title: str, sentences: Sequence[str]) -> list[str]:
    if not sentences:
        return []
    wrapped = [textwrap.fill(sentence, WIDTH, initial_indent="  ", subsequent_indent="    ") for sentence in sentences]
    return [title, *wrapped]


def _prices(plan: CloudGraph) -> str:
    prices = plan.prices
    own = f", after your own: {printable(prices.overrides)}" if prices.overrides else ""
    return f"{prices.name} {prices.version} as of {prices.as_of}{own}"
