"""Runs the optimised graph of a function that asks models.

It knows when a graph is worth it: when there is a model to ask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xcs_airflow.jit.compiler import Compiler
from xcs_airflow.jit.strategies.direct import DirectStrategy


@dataclass(frozen=True)
class LLMAwareStrategy:
    """Identical calls become one, the rest wait side by side, and answers are remembered.

    A function that asks no model, or cannot be compiled, runs as it is written.
    """

    def run(self, compiler: Compiler, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """The result of one call."""
        arguments = compiler.bind(args, kwargs)
        compiled = compiler.compile(arguments)
        if compiled is None or not compiled.questions:
            return DirectStrategy().run(compiler, args, kwargs)
        return compiled.run(arguments)
