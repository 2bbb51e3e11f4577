"""What providers' batch APIs take and how long they keep a caller waiting: dated rows with their source.

It knows the rows of data/batch_limits.json, one for each provider whose batch API the runtime speaks; it does not know graphs.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from pydantic import Field

from xcs_airflow.values import Frozen

_DATA = Path(__file__).parent / "data" / "batch_limits.json"


class BatchLimits(Frozen):
    """One row: what one provider takes.

    Attributes:
        provider: Its name, as in front of a model's.
        min_requests: The fewest requests of one batch; fewer are refused.
        max_requests: The most requests of one batch.
        max_bytes: The largest request file of one batch.
        window_s: After how many seconds the provider gives a batch up.
        as_of: The date, YYYY-MM-DD, it was looked up.
        source: The page that says so.
    """

    provider: str
    min_requests: int = Field(default=1, ge=1)
    max_requests: int = Field(ge=1)
    max_bytes: int = Field(ge=1)
    window_s: int = Field(ge=1)
    as_of: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$")
    source: str


class _Rows(Frozen):
    rows: tuple[BatchLimits, ...]


@cache
def batch_limits() -> dict[str, BatchLimits]:
    """The limits of every provider by its name."""
    return {row.provider: row for row in _Rows.model_validate(json.loads(_DATA.read_bytes())).rows}
