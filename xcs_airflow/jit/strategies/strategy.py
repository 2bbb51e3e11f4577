"""What a strategy is.

It knows the promise; it does not know any strategy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from xcs_airflow.jit.compiler import Compiler


class Strategy(Protocol):
    """Runs the calls of a function. Whatever it does, the result is the function's own."""

    def run(self, compiler: Compiler, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """The result of one call.

        Args:
            compiler: The function and its compiled forms.
            args: Positional arguments.
            kwargs: Named arguments.
        """
