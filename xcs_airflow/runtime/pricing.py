"""What calls cost for those who run tasks: by a price file that goes before the price list, which is read when it is needed.

It knows where prices are; `cost/prices.py` knows how a price is calculated.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from xcs_airflow.runtime.books import Price

if TYPE_CHECKING:
    from xcs_airflow.cost.prices import PriceBook


def price_of(overrides: Path | None) -> Price:
    """What calls cost by the price list, which is read when the first price is asked for.

    Args:
        overrides: A price file that wins over the price data; it is read at once, before money is spent.

    Raises:
        PlanError: The price file is not valid.
    """
    if overrides is None:
        return lambda *call, **how: _price_list().price(*call, **how)
    from xcs_airflow.cost.prices import PriceBook  # noqa: PLC0415  # only tasks that made calls need prices

    return PriceBook.load(overrides).price


@cache
def _price_list() -> PriceBook:
    from xcs_airflow.cost.prices import PriceBook  # noqa: PLC0415

    return PriceBook.load()
