"""Calling the functions of a pipeline: finding them, reading their inputs by annotation, turning results into JSON.

It knows Python functions; it does not know steps or stores.
"""

from __future__ import annotations

import asyncio
import collections.abc
import importlib
import inspect
import logging
import sys
import sysconfig
import types
import typing
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import PydanticSerializationError, to_jsonable_python

from xcs_airflow.errors import RuntimeTaskError, XcsError

_LOG = logging.getLogger("xcs_airflow.runtime")
_PACKAGE = str(Path(__file__).parents[1])
_STDLIB = sysconfig.get_path("stdlib")


_NOTHING = nullcontext()


def code_on_path(folder: Path | None) -> AbstractContextManager[None]:
    """Import from the code folder of a bundle first, for as long as the block runs.

    Modules of the same name that came from elsewhere, as from another bundle in the same process, are imported again.
    """
    return _NOTHING if folder is None else _first_on_path(folder)


@contextmanager
def _first_on_path(folder: Path) -> Iterator[None]:
    root = str(folder.resolve())
    own = {path.stem for path in folder.iterdir() if path.suffix == ".py" or path.is_dir()} if folder.is_dir() else set()
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in own - sys.stdlib_module_names - {"xcs_airflow"} and not _lies_in(module, root):
            del sys.modules[name]
    sys.path.insert(0, root)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(root)


def _lies_in(module: ModuleType, root: str) -> bool:
    place = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
    return place is not None and Path(place).resolve().is_relative_to(root)


class Function:
    """A function of a pipeline, ready to be called with JSON.

    Args:
        address: `package.module:qualified.name`.
        operation: Who calls it, for messages.

    Raises:
        RuntimeTaskError: It cannot be imported (XCS605).
    """

    def __init__(self, address: str, operation: str | None = None) -> None:
        self.address = address
        self._operation = operation
        self._call = _imported(address, operation)
        self._readers = {name: reader for name, hint in _hints(self._call).items() if (reader := _reader(hint)) is not None}

    def __call__(self, inputs: Mapping[str, Any]) -> Any:
        """Call it and return what it returns; a coroutine is run to its end, a generator is returned as it is.

        Raises:
            RuntimeTaskError: An input does not fit (XCS613), or it raised something (XCS603).
        """
        arguments = self._arguments(inputs)
        with self._reporting():
            result = self._call(**arguments)
            return asyncio.run(_awaited(result)) if inspect.isawaitable(result) else result

    def run(self, inputs: Mapping[str, Any]) -> Any:
        """Call it and return JSON; for a list or a generator, an iterator of JSON, so that a generator never stands in memory.

        Raises:
            RuntimeTaskError: As for a call, and when the result is not JSON (XCS604).
        """
        result = self(inputs)
        if inspect.isasyncgen(result):
            return self._stream(_drained(result))
        if hasattr(result, "__next__"):
            return self._stream(result)
        value = self.as_json(result)
        return iter(value) if isinstance(value, list) else value

    def as_json(self, result: Any) -> Any:
        """What it returned, as JSON.

        Raises:
            RuntimeTaskError: It is not JSON (XCS604).
        """
        if inspect.isasyncgen(result):
            result = _drained(result)
        try:
            with self._reporting(PydanticSerializationError):
                return to_jsonable_python(list(result) if hasattr(result, "__next__") else result)
        except (PydanticSerializationError, ValueError) as error:
            raise RuntimeTaskError.because("XCS604", operation=self._operation, function=self.address, reason=str(error)) from None

    def _stream(self, results: Iterator[Any]) -> Iterator[Any]:
        with self._reporting():
            for result in results:
                yield self.as_json(result)

    def _arguments(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        arguments = dict(inputs)
        for name in self._readers.keys() & arguments.keys():
            try:
                arguments[name] = self._readers[name].validate_python(arguments[name])
            except ValidationError as error:
                detail = error.errors(include_url=False, include_context=False)[0]
                where = "".join(f"[{step!r}]" for step in detail["loc"])
                reason = f"{detail['msg']}{f' at {where}' if where else ''}"
                raise RuntimeTaskError.because(
                    "XCS613", operation=self._operation, function=self.address, input=name, reason=reason
                ) from None
        return arguments

    @contextmanager
    def _reporting(self, *expected: type[Exception]) -> Iterator[None]:
        """Turn whatever the user's code raises into an error that shows the user's line."""
        passing: tuple[type[BaseException], ...] = (XcsError, GeneratorExit, *expected)
        try:
            yield
        except passing:
            raise
        except (Exception, SystemExit) as error:
            _LOG.exception("%s failed", self.address)
            shown = f"{type(error).__name__}: {error}"
            place = _users_line(error.__traceback__) or _definition(self._call)
            raise RuntimeTaskError.because("XCS603", operation=self._operation, function=self.address, error=shown, place=place) from error


async def _awaited(result: Any) -> Any:
    return await result


def _drained(results: AsyncIterator[Any]) -> Iterator[Any]:
    """The items of an asynchronous generator, one by one."""
    with asyncio.Runner() as runner:
        while True:
            try:
                yield runner.run(_awaited(anext(results)))
            except StopAsyncIteration:
                return


def _imported(address: str, operation: str | None) -> Callable[..., Any]:
    """The function at an address, without the decorators of this package."""
    module, _, name = address.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except Exception as error:
        _LOG.exception("importing %s failed", address)
        place = _users_line(error.__traceback__)
        raise RuntimeTaskError.because(
            "XCS605", operation=operation, address=address, reason=f"{type(error).__name__}: {error}", place=place
        ) from error
    return getattr(found, "__wrapped__", found)  # type: ignore[no-any-return]


def _definition(function: Callable[..., Any]) -> str | None:
    code = getattr(function, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else None


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError, AttributeError) as error:
        _LOG.warning("the annotations of %s are not used: %s", getattr(function, "__qualname__", function), error)
        return {}
    hints.pop("return", None)
    return hints


def _reader(hint: Any) -> TypeAdapter[Any] | None:
    """What turns JSON into a type; None when JSON is what the function wants."""
    if hint is Any or hint in (str, int, float, bool, list, dict, object):
        return None
    if typing.get_origin(hint) in (collections.abc.Iterable, collections.abc.Iterator):
        # Pydantic would read these lazily, and only once.
        hint = types.GenericAlias(list, typing.get_args(hint))
    try:
        return TypeAdapter(hint)
    except PydanticUserError:
        return None


def _users_line(trace: TracebackType | None) -> str | None:
    """The last line of a traceback outside of this package and of Python; where others wrote none, of an installed package."""
    own = installed = None
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if not name.startswith((_PACKAGE, "<", f"{_STDLIB}/")):
            installed = f"{name}:{trace.tb_lineno}"
            own = own if "site-packages" in name else installed
        elif "site-packages" in name and not name.startswith(_PACKAGE):
            installed = f"{name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return own or installed
