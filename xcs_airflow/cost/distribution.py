"""How a measured number is spread: its count, its sums, and how often each size was seen, to two digits.

It knows whole numbers; it does not know what they count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from math import ceil, sqrt

from pydantic import Field

from xcs_airflow.values import Frozen

_EXACT = 100
"""Smaller numbers are kept as they are."""


class Distribution(Frozen):
    """Whole numbers, as many as there are sizes to two digits: a million of them take no more room than a few hundred.

    Count, sum and sum of squares are exact, so a mean is, too; a quantile is within 5 % of its number. Everything adds up: it does
    not matter in which order distributions are put together.

    Attributes:
        count: How many numbers.
        total: Their sum.
        squares: The sum of their squares.
        sizes: How often each size was seen; from 100 on, sizes have two digits that are not zero.
    """

    count: int = Field(default=0, ge=0)
    total: int = Field(default=0, ge=0)
    squares: int = Field(default=0, ge=0)
    sizes: dict[int, int] = Field(default_factory=dict)

    @classmethod
    def of(cls, numbers: Iterable[int]) -> Distribution:
        """The distribution of numbers that are not negative."""
        return cls.counted(Counter(numbers))

    @classmethod
    def counted(cls, counts: Counter[int]) -> Distribution:
        """The distribution of numbers, of which equal ones have been counted."""
        sizes: Counter[int] = Counter()
        for number, count in counts.items():
            sizes[_size(number)] += count
        total = sum(number * count for number, count in counts.items())
        squares = sum(number * number * count for number, count in counts.items())
        return cls(count=counts.total(), total=total, squares=squares, sizes=dict(sorted(sizes.items())))

    @staticmethod
    def sum(parts: Iterable[Distribution]) -> Distribution:
        """Several as one."""
        sizes: Counter[int] = Counter()
        count = total = squares = 0
        for part in parts:
            sizes.update(part.sizes)
            count, total, squares = count + part.count, total + part.total, squares + part.squares
        return Distribution(count=count, total=total, squares=squares, sizes=dict(sorted(sizes.items())))

    @cached_property
    def mean(self) -> float:
        """The mean; 0 of no numbers."""
        return self.total / self.count if self.count else 0.0

    @cached_property
    def deviation(self) -> float:
        """How far numbers are from the mean, as a standard deviation; 0 of fewer than two."""
        if self.count <= 1:
            return 0.0
        return sqrt(max(0, self.squares * self.count - self.total * self.total) / (self.count * (self.count - 1)))

    def quantile(self, share: float) -> int:
        """The least size that so large a share of the numbers does not exceed; 0 of no numbers.

        Args:
            share: From 0 to 1, as in 0.9 for the 90th percentile.
        """
        wanted = max(1, ceil(share * self.count))
        seen = 0
        for size in sorted(self.sizes):
            seen += self.sizes[size]
            if seen >= wanted:
                return size
        return 0


def _size(number: int) -> int:
    """A number to two digits."""
    step = 1
    while number >= _EXACT * step:
        step *= 10
    return (number + step // 2) // step * step
