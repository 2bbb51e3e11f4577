"""The decorator: keeps the function and hands every call to a strategy.

It knows neither graphs nor models, and loads nothing until the first call.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import MethodType
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

if TYPE_CHECKING:
    from xcs_airflow.jit.compiler import Compiler
    from xcs_airflow.jit.strategies import Strategy

P = ParamSpec("P")
R = TypeVar("R")


class NotCompiledWarning(UserWarning):
    """A function with `@jit` runs as it is written, because it could not be compiled."""


class Jitted(Generic[P, R]):
    """A function whose calls go through a strategy; made by `@jit`.

    Args:
        func: The function.
        strategy: How its calls are run; None lets the size of the work decide.
    """

    __wrapped__: Callable[P, R]

    def __init__(self, func: Callable[P, R], strategy: Strategy | None = None) -> None:
        functools.update_wrapper(self, func)
        self._strategy = strategy

    def __repr__(self) -> str:
        return f"<jit {self.__wrapped__.__qualname__}>"

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it; inside a pipeline, take its steps."""
        from xcs_airflow.authoring.trace import active_trace  # noqa: PLC0415  # loads pydantic

        if active_trace() is not None:
            return self.__wrapped__(*args, **kwargs)
        result: R = self.strategy.run(self.compiler, args, kwargs)
        return result

    def __get__(self, instance: object | None, owner: type | None = None) -> Any:
        """As a method: the function of an object. Objects are no parameters, so it runs as it is written."""
        return self if instance is None else MethodType(self, instance)

    @functools.cached_property
    def strategy(self) -> Strategy:
        """How its calls are run."""
        from xcs_airflow.jit.strategies import AdaptiveLLMStrategy  # noqa: PLC0415  # loads the passes

        return self._strategy or AdaptiveLLMStrategy()

    @functools.cached_property
    def compiler(self) -> Compiler:
        """Its compiled forms."""
        from xcs_airflow.jit.compiler import Compiler  # noqa: PLC0415  # loads the passes

        return Compiler(self.__wrapped__)


@overload
def jit(func: Callable[P, R], /) -> Jitted[P, R]: ...
@overload
def jit(*, strategy: Strategy | None = None) -> Callable[[Callable[P, R]], Jitted[P, R]]: ...
def jit(func: Callable[..., Any] | None = None, /, *, strategy: Strategy | None = None) -> Any:
    """Run a function's steps with everything the passes can do for them: `@jit`.

    On its first call the function is traced with its arguments as parameters, and the graph is optimised and kept for later
    calls. Calls of models then wait side by side, and answers are remembered. A function that cannot be traced runs as it is
    written, with one `NotCompiledWarning` that says why.

    Args:
        func: The function; `@jit` without arguments gives it.
        strategy: How its calls are run: `DirectStrategy()`, `LLMAwareStrategy()`, or by default `AdaptiveLLMStrategy()`, which chooses.
    """
    if func is None:
        return functools.partial(Jitted, strategy=strategy)
    return Jitted(func, strategy)
