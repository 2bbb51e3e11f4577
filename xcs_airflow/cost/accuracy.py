"""How far off an estimate was: what had been expected of a run, beside what it did.

It knows errors and their means; it does not know how anything was estimated or measured.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from xcs_airflow.cost.figures import Figure, Money
from xcs_airflow.cost.profile import Expectation, OperationRun, RunProfile
from xcs_airflow.values import Frozen

_DIGITS = 6
_MS = 1000


class Comparison(Frozen):
    """One figure of an estimate, beside what it became.

    Attributes:
        expected: What had been expected.
        high: What had been expected at worst.
        actual: What it was.
        error: How far off it was, as a share of what it was; None when there was none of it although some had been expected.
        is_covered: Whether it was not more than at worst.
    """

    expected: float
    high: float
    actual: float
    error: float | None
    is_covered: bool

    @classmethod
    def of(cls, expected: float, high: float, actual: float) -> Comparison:
        """Compare."""
        error = 0.0 if actual == expected else None
        if actual:
            error = round(abs(expected - actual) / actual, _DIGITS)
        rounded = (round(number, _DIGITS) for number in (expected, high, actual))
        expected_, high_, actual_ = rounded
        return cls(expected=expected_, high=high_, actual=actual_, error=error, is_covered=actual_ <= high_)


class OperationAccuracy(Frozen):
    """How far off the estimate of one operation was, or that of a run as a whole.

    Attributes:
        operation: Its id; empty for the run.
        calls: Answered model calls; None for a plain function.
        tokens: Input and output together; None for a plain function.
        cost_usd: Of all calls by the price list; None when a price was not known.
        seconds: Of one call or, for a plain function, of all it did; of the run from start to end. None when nobody measured it.
    """

    operation: str
    calls: Comparison | None = None
    tokens: Comparison | None = None
    cost_usd: Comparison | None = None
    seconds: Comparison | None = None


class Accuracy(Frozen):
    """How far off an estimate of a run was.

    Attributes:
        run_id: The run.
        ended: When it was over, in UTC.
        operations: Those that asked models, and functions whose time is known.
        total: The run.
        cost_mape: Mean absolute error of the operations' cost, as a share of what it was; None when no operation has one.
        tokens_mape: Likewise, of their tokens.
        covered: How many operations cost no more than expected at worst.
        compared: Of how many.
    """

    run_id: str
    ended: str
    operations: tuple[OperationAccuracy, ...]
    total: OperationAccuracy
    cost_mape: float | None
    tokens_mape: float | None
    covered: int
    compared: int


def accuracy(run: RunProfile) -> Accuracy | None:
    """Compare what had been expected of a run with what it did; None when nobody wrote down what had been expected."""
    if run.expected_total is None:
        return None
    nothing = OperationRun()
    compared = [_compared(name, expected, run.operations.get(name, nothing)) for name, expected in run.expected.items()]
    operations = tuple(entry for entry in compared if entry.calls is not None or entry.seconds is not None)
    costs = [entry.cost_usd for entry in operations if entry.cost_usd is not None]
    return Accuracy(
        run_id=run.run_id,
        ended=run.ended,
        operations=operations,
        total=_total(run, run.expected_total),
        cost_mape=_mean_error(costs),
        tokens_mape=_mean_error(entry.tokens for entry in operations if entry.tokens is not None),
        covered=sum(cost.is_covered for cost in costs),
        compared=len(costs),
    )


def _compared(name: str, expected: Expectation, did: OperationRun) -> OperationAccuracy:
    if did.shape is None and not expected.calls.high:
        seconds = None if did.busy_ms is None else did.busy_ms / _MS
        return OperationAccuracy(operation=name, seconds=_figure(expected.seconds, seconds))
    seconds = did.call_ms.mean / _MS if did.call_ms.count else None
    return OperationAccuracy(
        operation=name,
        calls=_figure(expected.calls, did.calls + did.discarded),
        tokens=_tokens(expected, did.input_tokens.total + did.output_tokens.total),
        cost_usd=_money(expected.cost_usd, did.cost_usd if did.calls + did.discarded else Decimal(0)),
        seconds=_figure(expected.seconds, seconds),
    )


def _total(run: RunProfile, expected: Expectation) -> OperationAccuracy:
    done = run.operations.values()
    costs = [each.cost_usd for each in done if each.calls + each.discarded]
    cost = None if None in costs else sum((amount for amount in costs if amount is not None), Decimal(0))
    return OperationAccuracy(
        operation="",
        calls=_figure(expected.calls, sum(each.calls + each.discarded for each in done)),
        tokens=_tokens(expected, sum(each.input_tokens.total + each.output_tokens.total for each in done)),
        cost_usd=_money(expected.cost_usd, cost),
        seconds=_figure(expected.seconds, run.seconds),
    )


def _tokens(expected: Expectation, actual: float) -> Comparison:
    into, out = expected.input_tokens, expected.output_tokens
    return Comparison.of(into.expected + out.expected, into.high + out.high, actual)


def _figure(expected: Figure, actual: float | None) -> Comparison | None:
    return None if actual is None else Comparison.of(expected.expected, expected.high, actual)


def _money(expected: Money, actual: Decimal | None) -> Comparison | None:
    if actual is None or not expected.is_complete:
        return None
    return Comparison.of(float(expected.expected), float(expected.high), float(actual))


def _mean_error(comparisons: Iterable[Comparison]) -> float | None:
    errors = [each.error for each in comparisons if each.error is not None]
    return round(sum(errors) / len(errors), _DIGITS) if errors else None
