"""The inputs a function takes, and how the arguments of a call are given to them.

It knows names, defaults and types; it does not know where values come from.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from xcs_airflow.authoring.annotations import hints_of
from xcs_airflow.errors import Finding, TraceError

MISSING = inspect.Parameter.empty
"""Stands for a default that does not exist."""


@dataclass(frozen=True)
class Input:
    """One input of a function.

    Attributes:
        name: By which it is passed.
        default: Its value when it is left out; `MISSING` when it cannot be.
        by_name_only: Whether it must be passed by name.
        annotation: Its type; `Any` when unknown.
    """

    name: str
    default: Any = MISSING
    by_name_only: bool = False
    annotation: Any = Any

    @property
    def is_required(self) -> bool:
        """Whether a call must give it."""
        return self.default is MISSING


@dataclass(frozen=True)
class Signature:
    """The inputs of a function.

    Attributes:
        inputs: In the order of positional arguments.
        takes_others: Whether it takes inputs of any other name.
        returns: The type of its result; `Any` when unknown.
    """

    inputs: tuple[Input, ...]
    takes_others: bool = False
    returns: Any = Any

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the inputs."""
        return tuple(entry.name for entry in self.inputs)

    def annotation_of(self, name: str) -> Any:
        """The type of an input; `Any` when unknown."""
        return next((entry.annotation for entry in self.inputs if entry.name == name), Any)

    @classmethod
    def of_function(cls, func: Callable[..., Any], place: str | None) -> Signature:
        """What a Python function takes.

        Raises:
            TraceError: Its annotations name what does not exist.
        """
        hints = hints_of(func, place)
        parameters = inspect.signature(func).parameters.values()
        inputs = tuple(
            Input(entry.name, entry.default, entry.kind is entry.KEYWORD_ONLY, hints.get(entry.name, Any))
            for entry in parameters
            if entry.kind is not entry.VAR_KEYWORD
        )
        takes_others = any(entry.kind is entry.VAR_KEYWORD for entry in parameters)
        return cls(inputs, takes_others, hints.get("return", Any))

    @classmethod
    def of_names(cls, names: Iterable[str], returns: Any) -> Signature:
        """What a template takes: every input by any of both ways, none optional."""
        return cls(tuple(Input(name) for name in names), returns=returns)

    def bind(self, function: str, positional: Sequence[Any], named: Mapping[str, Any], place: str | None = None) -> dict[str, Any]:
        """The value of every input, defaults included, by name.

        Args:
            function: The name to use in findings.
            positional: Values in the order of the inputs.
            named: Values by name.
            place: `file:line` of the call.

        Raises:
            TraceError: The arguments do not fit; carries every finding.
        """
        if not positional and len(named) == len(self.names) and all(name in named for name in self.names):
            return dict(named)
        order = [entry.name for entry in self.inputs if not entry.by_name_only]
        given = dict(zip(order, positional, strict=False))
        findings = []
        if len(positional) > len(order):
            findings.append(Finding.of("XCS114", function=function, count=len(order), given=len(positional), known=order, place=place))
        known = set(self.names) - set(given)
        strangers = [name for name in named if name in given or (name not in known and not self.takes_others)]
        findings += [Finding.of("XCS102", function=function, name=name, known=known, place=place) for name in strangers]
        values = {entry.name: entry.default for entry in self.inputs if not entry.is_required} | given | dict(named)
        missing = [name for name in self.names if name not in values]
        if missing:
            findings.append(Finding.of("XCS103", function=function, missing=", ".join(map(repr, missing)), place=place))
        if findings:
            raise TraceError(findings)
        return values


def refuse_unnamed(func: Callable[..., Any], decorator: str, place: str | None) -> None:
    """Make sure that every input of a function has a name to pass it by.

    Raises:
        TraceError: It has not; carries every finding.
    """
    findings = [
        Finding.of(
            "XCS110",
            setting="input",
            value=str(entry.replace(annotation=MISSING, default=MISSING)),
            decorator=decorator,
            reason="inputs are passed by name",
            instead="use inputs without '*' and '/'",
            place=place,
        )
        for entry in inspect.signature(func).parameters.values()
        if entry.kind in (entry.POSITIONAL_ONLY, entry.VAR_POSITIONAL)
    ]
    if findings:
        raise TraceError(findings)


def refuse_async(func: Callable[..., Any], decorator: str, place: str | None) -> None:
    """Make sure that a function returns what it says when it is called.

    Raises:
        TraceError: It is asynchronous or yields.
    """
    kinds = {"it is asynchronous": inspect.iscoroutinefunction, "it yields": inspect.isgeneratorfunction}
    reason = next((reason for reason, is_kind in kinds.items() if is_kind(func)), None)
    if reason or inspect.isasyncgenfunction(func):
        facts = {"value": func.__name__, "reason": reason or "it yields", "instead": "write it with def and return"}
        raise TraceError.because("XCS110", setting="function", decorator=decorator, place=place, **facts)


def first_line(func: Callable[..., Any]) -> str:
    """The first line of a function's docstring."""
    return (inspect.getdoc(func) or "").partition("\n")[0]
