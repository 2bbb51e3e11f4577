"""Waiting for coroutines from ordinary code, whatever runs in the calling thread.

It knows threads and event loops, and nothing of what they do.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

_Result = TypeVar("_Result")


def has_running_loop() -> bool:
    """Whether an event loop runs in this thread, so that nothing here may wait."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def wait_for(start: Callable[[], Coroutine[Any, Any, _Result]]) -> _Result:
    """Run a coroutine to its end, in this thread or, when an event loop runs here already, in another."""
    if has_running_loop():
        return elsewhere(lambda: asyncio.run(start()))
    return asyncio.run(start())


@asynccontextmanager
async def together() -> AsyncIterator[asyncio.TaskGroup]:
    """Tasks that end together: the first error cancels the others and is raised as it is, not in a group."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


def elsewhere(run: Callable[[], _Result]) -> _Result:
    """Run a function to its end in a thread of its own, in the context of the caller."""
    results: list[_Result] = []
    errors: list[BaseException] = []
    context = contextvars.copy_context()

    def work() -> None:
        try:
            results.append(context.run(run))
        except BaseException as error:  # noqa: BLE001  # it is raised again below
            errors.append(error)

    thread = threading.Thread(target=work, name="xcs-runtime")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
