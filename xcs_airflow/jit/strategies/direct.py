"""Calls the function as it is written.

It knows nothing of graphs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xcs_airflow.jit.compiler import Compiler


@dataclass(frozen=True)
class DirectStrategy:
    """Every step runs when its line is reached, one after the other."""

    def run(self, compiler: Compiler, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """The result of one call."""
        return compiler.func(*args, **kwargs)
