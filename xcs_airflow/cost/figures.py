"""The figures of an estimate: ranges with a source, money that may be unknown, and their sums.

It knows arithmetic on what is uncertain; it does not know where a figure comes from.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, ClassVar, Literal, Self

from pydantic import ConfigDict, PlainSerializer

from xcs_airflow.values import CHECKS, Frozen

_DECIMALS = 6

Source = Literal["declared", "template", "assumed", "profile", "prices", "derived", "none"]
"""Who says so: the author, the prompt's own text, our guess, an earlier run, a price table, other figures, or nobody."""


def _written(value: float) -> float:
    """Without the last digits, in which versions of Python differ (3.12 made `sum` of floats exact)."""
    return round(value, _DECIMALS)


_End = Annotated[float, PlainSerializer(_written, return_type=float)]


# Estimates make hundreds of thousands of figures and amounts, so these are plain dataclasses, checked only when they are read.
@dataclass(frozen=True, slots=True)
class Figure:
    """A number of tokens, calls or seconds: at best, as expected, at worst.

    Attributes:
        low: At best.
        expected: The most likely.
        high: At worst.
        source: Who says so.
    """

    __pydantic_config__: ClassVar[ConfigDict] = CHECKS

    low: _End
    expected: _End
    high: _End
    source: Source = "derived"

    @classmethod
    def exactly(cls, value: float, source: Source = "declared") -> Self:
        """A figure without doubt."""
        number = float(value)
        return cls(low=number, expected=number, high=number, source=source)

    def times(self, factor: float) -> Figure:
        """Each end multiplied."""
        return Figure(low=self.low * factor, expected=self.expected * factor, high=self.high * factor)

    @staticmethod
    def total(figures: Iterable[Figure]) -> Figure:
        """The ends added up."""
        parts = list(figures)
        return Figure(
            low=sum(part.low for part in parts),
            expected=sum(part.expected for part in parts),
            high=sum(part.high for part in parts),
        )


NOTHING = Figure.exactly(0, "none")
"""No tokens, no seconds."""


@dataclass(frozen=True, slots=True)
class Money:
    """An amount of US dollars: at best, as expected, at worst. What is unknown is counted, never taken for zero.

    Attributes:
        low: At best.
        expected: The most likely.
        high: At worst.
        unknown: Names of what has no known price and is therefore missing in the amounts, which then are lower bounds.
    """

    __pydantic_config__: ClassVar[ConfigDict] = CHECKS

    low: Decimal = Decimal(0)
    expected: Decimal = Decimal(0)
    high: Decimal = Decimal(0)
    unknown: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing in the amounts."""
        return not self.unknown

    def times(self, factor: int | Decimal) -> Money:
        """Each end multiplied."""
        return Money(low=self.low * factor, expected=self.expected * factor, high=self.high * factor, unknown=self.unknown)

    def times_each(self, factor: Figure) -> Money:
        """Each end multiplied by the same end of a figure."""
        low, expected, high = (
            amount * Decimal(f"{end:.{_DECIMALS}f}")
            for amount, end in ((self.low, factor.low), (self.expected, factor.expected), (self.high, factor.high))
        )
        return Money(low=low, expected=expected, high=high, unknown=self.unknown)

    @staticmethod
    def total(amounts: Iterable[Money]) -> Money:
        """The ends added up; what is unknown in any part is unknown in the sum."""
        parts = list(amounts)
        return Money(
            low=sum((part.low for part in parts), Decimal(0)),
            expected=sum((part.expected for part in parts), Decimal(0)),
            high=sum((part.high for part in parts), Decimal(0)),
            unknown=tuple(dict.fromkeys(name for part in parts for name in part.unknown)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationEstimate:
    """What one operation is expected to do in a run.

    Attributes:
        operation: Its id.
        calls_before: Model calls that one call per item would make, without any pass.
        calls: Model calls after de-duplication and caching, in a run with an empty cache.
        input_tokens: Of all calls together.
        output_tokens: Of all calls together.
        cost_usd: Of all calls together.
        shared_tokens: With how many tokens of input all calls begin alike.
        call_latency_s: Of one call, or of one run of a plain function.
        duration_s: From start to end of the operation, its calls in flight side by side.
        items: How many items its result is expected to have; None when it is no list.
        distinct_items: How many different ones among them.
    """

    __pydantic_config__: ClassVar[ConfigDict] = CHECKS

    operation: str
    calls_before: int = 0
    calls: int = 0
    input_tokens: Figure = NOTHING
    output_tokens: Figure = NOTHING
    cost_usd: Money = Money()
    shared_tokens: Figure = NOTHING
    call_latency_s: Figure = NOTHING
    duration_s: Figure = NOTHING
    items: int | None = None
    distinct_items: int | None = None


class PriceSource(Frozen):
    """Where prices come from.

    Attributes:
        name: The package or file.
        version: Its version.
        as_of: The date, YYYY-MM-DD, whose prices are taken.
        overrides: A file of the user's that goes before it.
    """

    name: str
    version: str
    as_of: str
    overrides: str | None = None


class Spread(Frozen):
    """How a measured number is spread.

    Attributes:
        p50: Half of the numbers are not greater.
        p90: Nine in ten are not greater.
        mean: Their mean.
    """

    p50: float
    p90: float
    mean: float


class MeasuredOperation(Frozen):
    """What earlier runs measured of one operation that asks a model, as far as a plan relies on it.

    Attributes:
        operation: Its id.
        runs: In how many runs.
        calls: How many answered calls.
        live_calls: How many calls a run is expected to make: at best all answers come from the cache, at worst none.
        input_tokens: Of one call; None when nobody counted.
        output_tokens: Of one call; None when nobody counted.
        call_s: Seconds of one live call; None when none was timed.
        distinct_share: Which share of the requests were different ones; None when all answers came from the cache.
        hit_share: Which share of the answers came from the cache.
        known_runs: In how many of the runs all of them did.
        cached_share: Which share of the input tokens the provider had in its own prompt cache.
    """

    operation: str
    runs: int
    calls: int
    live_calls: Figure
    input_tokens: Spread | None = None
    output_tokens: Spread | None = None
    call_s: Spread | None = None
    distinct_share: float | None = None
    hit_share: float = 0.0
    known_runs: int = 0
    cached_share: float = 0.0


class GraphEstimate(Frozen):
    """What a run is expected to do.

    Attributes:
        operations: In graph order.
        calls_before: Model calls that one call per item would make.
        calls: Model calls after the passes, in a run with an empty cache.
        input_tokens: Of all calls.
        output_tokens: Of all calls.
        cost_usd: Of all calls.
        duration_s: Along the longest path.
        assumptions: What was guessed, in sentences.
        prices: Where prices come from.
        measured: What earlier runs measured and the estimate relies on.
    """

    operations: tuple[OperationEstimate, ...]
    calls_before: int
    calls: int
    input_tokens: Figure
    output_tokens: Figure
    cost_usd: Money
    duration_s: Figure
    assumptions: tuple[str, ...] = ()
    prices: PriceSource
    measured: tuple[MeasuredOperation, ...] = ()

    def of(self, operation_id: str) -> OperationEstimate:
        """The estimate of one operation."""
        return next(estimate for estimate in self.operations if estimate.operation == operation_id)
