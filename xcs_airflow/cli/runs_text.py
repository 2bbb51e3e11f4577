"""Runs as text: a table of many, the books of one, and what its steps left behind.

It knows how figures read; it does not know where they come from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from xcs_airflow.cli.run_summary import billed, known_cost, listed
from xcs_airflow.plan.text import printable, usd

if TYPE_CHECKING:
    from xcs_airflow.runtime.books import Usage
    from xcs_airflow.runtime.runs import Output, Run
    from xcs_airflow.runtime.usage import RunUsage

_HASH_DIGITS = 16


def moment(seconds: float) -> str:
    """A moment as ISO 8601, in UTC: `2026-11-22T10:30:44Z`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def print_runs(found: Sequence[tuple[Run, RunUsage]]) -> str:
    """A line for every run, and their sum where there are several."""
    rows = [
        [
            printable(run.pipeline),
            printable(run.run_id),
            moment(run.changed),
            f"{run.finished_steps:,}",
            *_figures(used.total),
        ]
        for run, used in found
    ]
    if len(found) > 1:
        rows.append(["total", "", "", "", *_figures(_sum(found))])
    names = ("pipeline", "run", "changed", "steps", "calls", "cost in USD", "saved", "wasted", "possibly billed")
    return "\n".join(_table(names, rows, left=3))


def print_run(run: Run, used: RunUsage) -> str:
    """The books of one run: by operation, model and mechanism, and what was saved, wasted and may have been billed."""
    whole = used.total
    head = [f"{printable(run.pipeline)} {printable(run.run_id)}: {billed(whole)} USD", ", ".join(_facts(run, used))]
    if not used.operations:
        return "\n".join(head)
    names = (
        *("operation", "model", "mechanism", "answers", "calls", "tokens in", "tokens out", "by price list", "cost in USD"),
        *("saved", "wasted"),
    )
    rows = [[printable(usage.operation), printable(usage.model), usage.mechanism, *_books(usage)] for usage in used.operations]
    if len(rows) > 1:
        rows.append(["total", "", "", *_books(whole)])
    return "\n".join([*head, "", *_table(names, rows, left=3), "", *_money(whole)])


def print_outputs(outputs: Sequence[Output]) -> str:
    """A line for every shard of every step."""
    names = ("step", "shard", "form", "items", "sha256", "data")
    rows = [
        [
            printable(output.step),
            f"{output.shard} of {output.shards}",
            output.form,
            f"{output.count:,}",
            output.sha256[:_HASH_DIGITS],
            printable(output.data or ""),
        ]
        for output in outputs
    ]
    return "\n".join(_table(names, rows, left=3)) if rows else "no step has left a result"


def _facts(run: Run, used: RunUsage) -> Iterator[str]:
    if used.period is not None:
        yield f"calls from {moment(used.period.begin)} to {moment(used.period.end)}"
    else:
        yield f"last changed {moment(run.changed)}"
    yield f"{run.finished_steps:,} steps finished"
    if used.open_attempts:
        yield f"{used.open_attempts:,} of {used.attempts:,} attempts have not come to their end"


def _figures(used: Usage) -> list[str]:
    doubt = f"{used.possibly_billed:,}" + (f" ({_doubtful(used)})" if used.possibly_billed else "")
    return [f"{used.calls:,}", billed(used), usd(used.saved_usd), usd(used.wasted_cost_usd), doubt]


def _books(used: Usage) -> list[str]:
    return [
        f"{used.rows:,}",
        f"{used.calls:,}",
        f"{used.input_tokens:,}",
        f"{used.output_tokens:,}",
        listed(used),
        billed(used),
        usd(used.saved_usd),
        usd(used.wasted_cost_usd),
    ]


def _money(used: Usage) -> Iterator[str]:
    yield (
        f"saved            {usd(used.saved_usd)} USD: {usd(used.saved_by_hits_usd)} by {used.hits:,} answers from the cache, "
        f"{usd(used.saved_by_duplicates_usd)} by {used.duplicates:,} shared with an equal question, "
        f"{usd(used.saved_by_batch_usd)} by batch prices"
    )
    yield f"wasted           {usd(used.wasted_cost_usd)} USD: {used.discarded:,} answers were paid for and could not be used"
    yield f"possibly billed  {_doubtful(used)} USD: nobody knows what became of {used.possibly_billed:,} calls"
    yield f"not billed       {used.refused:,} calls were refused"


def _doubtful(used: Usage) -> str:
    return known_cost(used.possibly_billed_cost_usd, used.possibly_billed_without_cost, used.possibly_billed)


def _sum(found: Sequence[tuple[Run, RunUsage]]) -> Usage:
    from xcs_airflow.runtime.books import total  # noqa: PLC0415

    return total(used.total for _, used in found)


def _table(names: Sequence[str], rows: Sequence[Sequence[str]], *, left: int) -> Iterator[str]:
    """Columns as wide as they need to be, the first few flush left."""
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    for row in (names, *rows):
        cells = [
            cell.ljust(width) if index < left else cell.rjust(width) for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()
