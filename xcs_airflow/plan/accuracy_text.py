"""The printed form of what a plan knows from earlier runs: how much was measured, and how far off the last estimate was.

It knows how figures read; it does not compute any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal

from xcs_airflow.cost.accuracy import Accuracy, Comparison, OperationAccuracy
from xcs_airflow.cost.figures import MeasuredOperation, Spread
from xcs_airflow.plan.cloud_graph import ProfileUse

_HEADINGS = ("operation", "calls", "tokens", "cost in USD", "error", "seconds", "error", "within high")
_LONGEST_NAME = 30
_DIGITS = 12


def profile_lines(use: ProfileUse, usd: Callable[[Decimal], str]) -> list[str]:
    """What is printed of a profile under a plan.

    Args:
        use: What the plan knows.
        usd: Writes an amount of US dollars.
    """
    runs = "1 run" if use.runs == 1 else f"{use.runs:,} runs"
    since = f" from {use.since}" if use.runs > 1 else ""
    lines = [f"profile: {runs}{since} until {use.until}, {use.digest[:_DIGITS]}"]
    return lines if use.accuracy is None else [*_accuracy_lines(use.accuracy, usd), "", *lines]


def measured_sentences(known: MeasuredOperation) -> Iterator[str]:
    """What earlier runs measured of one operation."""
    yield f"measured: {known.calls:,} calls in {known.runs:,} {'run' if known.runs == 1 else 'runs'}, {_shares(known)}"
    spreads = (("tokens in", known.input_tokens), ("tokens out", known.output_tokens), ("seconds of a call", known.call_s))
    told = [f"{name} {_spread(spread)}" for name, spread in spreads if spread is not None]
    if told:
        yield f"measured of one call: {'; '.join(told)}"


def _shares(known: MeasuredOperation) -> str:
    distinct = "" if known.distinct_share is None else f", {known.distinct_share:.0%} of the requests were different ones"
    cached = f", {known.cached_share:.0%} of the tokens in from the provider's cache" if known.cached_share else ""
    all_known = f" and all of them in {known.known_runs:,}" if known.known_runs else ""
    return f"{known.hit_share:.0%} of the answers from the cache{all_known}{distinct}{cached}"


def _spread(spread: Spread) -> str:
    return f"p50 {spread.p50:,g}, p90 {spread.p90:,g}, mean {spread.mean:,.4g}"


def _accuracy_lines(found: Accuracy, usd: Callable[[Decimal], str]) -> list[str]:
    rows = [_HEADINGS, *(_cells(entry, usd) for entry in (*found.operations, found.total))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = ["  ".join([name.ljust(widths[0]), *map(str.rjust, cells, widths[1:])]).rstrip() for name, *cells in rows]
    return [f"estimate against the last run, expected → actual ({found.run_id})", *table, _sentence(found)]


def _cells(entry: OperationAccuracy, usd: Callable[[Decimal], str]) -> tuple[str, ...]:
    cost, seconds = entry.cost_usd, entry.seconds
    known = [each for each in (entry.calls, entry.tokens, cost, seconds) if each is not None]
    return (
        entry.operation[:_LONGEST_NAME] or "total",
        _both(entry.calls, lambda number: f"{number:,.0f}"),
        _both(entry.tokens, lambda number: f"{number:,.0f}"),
        _both(cost, lambda number: usd(Decimal(str(number)))),
        _error(cost),
        _both(seconds, lambda number: f"{number:.3g}"),
        _error(seconds),
        "yes" if all(each.is_covered for each in known) else "no",
    )


def _both(compared: Comparison | None, written: Callable[[float], str]) -> str:
    return "" if compared is None else f"{written(compared.expected)} → {written(compared.actual)}"


def _error(compared: Comparison | None) -> str:
    if compared is None:
        return ""
    return "–" if compared.error is None else f"{compared.error:.1%}"


def _sentence(found: Accuracy) -> str:
    errors: Sequence[tuple[float | None, str]] = ((found.cost_mape, "cost"), (found.tokens_mape, "tokens"))
    told = " and ".join(f"{error:.1%} of {name}" for error, name in errors if error is not None)
    mean = f"mean absolute error of the operations: {told}; " if told else ""
    return f"{mean}{found.covered} of {found.compared} operations cost no more than at worst"
