"""Chooses, call by call, between the function as written and its graph, by the size of the work.

It knows how many calls of models there will be; it does not know how they are made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xcs_airflow.jit.compiler import Compiler
from xcs_airflow.jit.strategies.direct import DirectStrategy


@dataclass(frozen=True)
class AdaptiveLLMStrategy:
    """One call of a model gains nothing from a graph, so the function runs as written; several wait side by side.

    Attributes:
        most_in_flight: How many calls may wait at a time at the most. Providers answer more with "too many requests", and the
            runtime then slows down by itself.
    """

    most_in_flight: int = 64

    def run(self, compiler: Compiler, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """The result of one call."""
        arguments = compiler.bind(args, kwargs)
        compiled = compiler.compile(arguments)
        calls = compiled.calls(arguments) if compiled else 0
        if compiled is None or calls in (0, 1):
            return DirectStrategy().run(compiler, args, kwargs)
        return compiled.run(arguments, None if calls is None else min(calls, self.most_in_flight))
