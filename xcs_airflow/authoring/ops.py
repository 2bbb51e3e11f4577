"""`@op`: a plain Python function as a step.

It knows functions and their settings; it does not know how steps are recorded or run elsewhere.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, TypedDict, Unpack, overload

from xcs_airflow.authoring.places import place_of_function
from xcs_airflow.authoring.settings import SettingsReader, operation_fields
from xcs_airflow.authoring.signature import Signature, first_line, refuse_unnamed
from xcs_airflow.authoring.steps import P, R, Step, worker_address
from xcs_airflow.ir.operation import Operation, Retry


class OpSettings(TypedDict, total=False):
    """What `@op` can be told. All of it is optional.

    Attributes:
        items: How many items its result will have, when it is a list: a guess, until a run has counted them.
        distinct_items: How many different ones among them.
        pure: Whether the same inputs always give the same result and nothing else happens.
        cpu: Virtual CPUs; 1 by default.
        memory_mib: Memory in MiB; 512 by default.
        gpu: Number of GPUs.
        gpu_type: The accelerator's name at the platform, as in `nvidia-l4`.
        retries: How often it is started again when it fails for a passing reason, or a `Retry`.
        timeout: How long one start may take: `"10m"`, or seconds.
        secrets: Environment variables that the platform fills from its secret store: variable to the secret's name there.
        env: Environment variables in plain text.
        image: Container image; by default the bundle's.
        description: One line for people; by default the docstring's first.
    """

    items: int
    distinct_items: int
    pure: bool
    cpu: float
    memory_mib: int
    gpu: int
    gpu_type: str
    retries: int | Retry
    timeout: str | float
    secrets: Mapping[str, str]
    env: Mapping[str, str]
    image: str
    description: str


class Op(Step[P, R]):
    """A Python function as a step; made by `@op`.

    Args:
        func: The function.
        settings: The fields of its operations, but for id, function and inputs.
    """

    __wrapped__: Callable[P, R]

    def __init__(self, func: Callable[P, R], settings: Operation) -> None:
        functools.update_wrapper(self, func)
        self._settings = settings

    def __repr__(self) -> str:
        return f"<op {self.__module__}:{self.__wrapped__.__qualname__}>"

    @property
    def step_name(self) -> str:
        """The function's name."""
        return self.__wrapped__.__name__

    @property
    def function(self) -> Callable[..., Any]:
        """The function, without this decorator."""
        return self.__wrapped__

    @cached_property
    def signature(self) -> Signature:
        """The function's inputs and result."""
        return Signature.of_function(self.__wrapped__, place_of_function(self.__wrapped__))

    def operation(self) -> Operation:
        """One call of it, but for its id, inputs, place and code.

        Raises:
            TraceError: A worker could not find the function.
        """
        return self._settings.model_copy(update={"func": worker_address(self.__wrapped__)})

    def run(self, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
        """The function's results; what it yields becomes a list, what it awaits is waited for."""
        return [_finished(self.__wrapped__(**row)) for row in rows]  # type: ignore[call-arg]  # bound to the signature before


@overload
def op(func: Callable[P, R], /) -> Op[P, R]: ...
@overload
def op(**settings: Unpack[OpSettings]) -> Callable[[Callable[P, R]], Op[P, R]]: ...
def op(func: Callable[..., Any] | None = None, /, **settings: Unpack[OpSettings]) -> Any:
    """Make a function a step of pipelines: `@op`, or `@op(items=200, memory_mib=2048)`.

    Args:
        func: The function; `@op` without arguments gives it.
        **settings: See `OpSettings`.

    Raises:
        TraceError: A setting is not valid, or a worker could not call the function; carries every finding.
    """

    def decorate(func: Callable[P, R]) -> Op[P, R]:
        place = place_of_function(func)
        refuse_unnamed(func, "op", place)
        reader = SettingsReader("op", place)
        reader.check_names(settings, OpSettings.__annotations__)
        return Op(func, reader.build(Operation, {"id": "op", "description": first_line(func), **operation_fields(settings, reader)}))

    return decorate if func is None else decorate(func)


def _finished(result: Any) -> Any:
    if inspect.isasyncgen(result):
        return asyncio.run(_drained(result))
    if inspect.iscoroutine(result):
        return asyncio.run(result)
    return list(result) if inspect.isgenerator(result) else result


async def _drained(results: AsyncIterator[Any]) -> list[Any]:
    return [result async for result in results]
