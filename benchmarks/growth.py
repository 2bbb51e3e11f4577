"""How time and memory grow with the size of a graph.

It knows powers; it does not know what is measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import log


def exponent(measured: Mapping[int, float]) -> float:
    """The power of the size that fits best, by least squares of the logarithms: 1 is growth in proportion, 2 that of the square.

    Args:
        measured: Size to what it took; two sizes or more.
    """
    points = [(log(size), log(took)) for size, took in measured.items()]
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)
