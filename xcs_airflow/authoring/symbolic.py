"""Values that do not exist yet: what a step will return, or what a run will be given.

They know where they will come from and refuse everything that would need them now; they do not know how steps are recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from xcs_airflow.authoring.annotations import attributes_of, is_scalar, item_of, keys_of, positions_of, type_name, value_of
from xcs_airflow.errors import TraceError
from xcs_airflow.ir.text import print_value
from xcs_airflow.values import Parameter, Ref

if TYPE_CHECKING:
    from xcs_airflow.authoring.trace import Trace

IN_AN_OP = "do it inside a function with @op"

# What a value must not do before it exists: method, how the attempt reads, what to write instead.
_REFUSED: list[tuple[str, str, str]] = [
    ("__bool__", "if {0}", "decide inside a function with @op, or keep some items with .filter(...)"),
    ("__len__", "len({0})", "count inside a function with @op"),
    ("__contains__", "... in {0}", "look inside a function with @op, or keep some items with .filter(...)"),
    ("__str__", "str({0})", "make it an input of a prompt, as in {name}, or format it inside a function with @op"),
    ("__format__", "format({0})", "make it an input of a prompt, as in {name}, or format it inside a function with @op"),
    ("__hash__", "hash({0})", "look it up inside a function with @op"),
    ("__call__", "{0}()", IN_AN_OP),
    ("__setitem__", "{0}[...] = ...", IN_AN_OP),
    ("__delitem__", "del {0}[...]", IN_AN_OP),
    ("__enter__", "with {0}", IN_AN_OP),
    ("__await__", "await {0}", IN_AN_OP),
    ("__next__", "next({0})", IN_AN_OP),
    ("__round__", "round({0})", IN_AN_OP),
    *((f"__{name}__", f"{name}({{0}})", IN_AN_OP) for name in ("int", "float", "complex", "bytes", "abs", "index", "reversed", "fspath")),
    *((f"__{name}__", f"{sign}{{0}}", IN_AN_OP) for name, sign in (("neg", "-"), ("pos", "+"), ("invert", "~"))),
]

_COMPARISONS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}
_ARITHMETIC = {
    "add": "+", "sub": "-", "mul": "*", "matmul": "@", "truediv": "/", "floordiv": "//", "mod": "%", "pow": "**",
    "lshift": "<<", "rshift": ">>", "and": "&", "or": "|", "xor": "^",
}  # fmt: skip

LEAKED = ", known only in a run>"
"""Part of the debugging form of a value that does not exist yet; a text that holds it was formatted too early."""


class SymbolicValue:
    """The result of a step, a part of one, or a parameter, before there is a run.

    Args:
        trace: The trace it belongs to.
        value: Where it will come from.
        annotation: Its type; `Any` when unknown.
    """

    __slots__ = ("_annotation", "_trace", "_value")

    def __init__(self, trace: Trace, value: Ref | Parameter, annotation: Any) -> None:
        self._trace = trace
        self._value = value
        self._annotation = annotation

    def __repr__(self) -> str:
        return f"<{print_value(self._value)}{LEAKED}"

    def __getitem__(self, key: object) -> SymbolicValue:
        if not isinstance(key, str | int) or isinstance(key, bool):
            _refuse(self, "{0}[...]", f"use a name or a position that is known, or {IN_AN_OP}")
        attributes = attributes_of(self._annotation)
        if attributes is not None:
            _refuse(self, f"{{0}}[{key!r}]", f"write .{key}" if key in attributes else f"{type_name(self._annotation)} has no such part")
        return _part(self, key, f"{{0}}[{key!r}]", _type_at(self, key))

    def __iter__(self) -> Iterator[SymbolicValue]:
        parts = positions_of(self._annotation)
        if parts is None:
            _refuse(self, "for item in {0}", "use .map(...) to run a step once per item, or iterate inside a function with @op")
        return iter([self[position] for position in range(len(parts))])

    def __getattr__(self, name: str) -> SymbolicValue:
        if name.startswith("_"):  # asked by copy, inspect and friends, who can live without
            raise AttributeError(name)
        attributes = attributes_of(self._annotation) or {}
        if name not in attributes:
            keys = keys_of(self._annotation) or {}
            _refuse(self, f"{{0}}.{name}", f'write ["{name}"]' if name in keys else f"{IN_AN_OP}; parts are read by x[{name!r}]")
        json_name, annotation = attributes[name]
        return _part(self, json_name, f"{{0}}.{name}", annotation)


@dataclass(frozen=True)
class Each:
    """Marks an input of `.map` that is iterated."""

    values: Any


@dataclass(frozen=True)
class Whole:
    """Marks an input of `.map` that every item gets as it is."""

    value: Any


def each(values: Any) -> Any:
    """In `.map`, `.flat_map` and `.filter`: iterate these, although their type does not say that they are a list."""
    return Each(values)


def whole(value: Any) -> Any:
    """In `.map`, `.flat_map` and `.filter`: give this to every item as it is, although it is a list."""
    return Whole(value)


def _refuse(symbol: SymbolicValue, what: str, instead: str) -> NoReturn:
    trace = symbol._trace  # noqa: SLF001  # a function of this class, kept out of its namespace, which belongs to users' fields
    value = symbol._value  # noqa: SLF001
    facts = {"what": what.replace("{0}", print_value(value)), "instead": instead}
    error = TraceError.because("XCS101", operation=trace.printed(value), place=trace.place(), **facts)
    trace.findings += error.findings  # for users who catch it and go on
    raise error


def _part(symbol: SymbolicValue, key: str | int, what: str, annotation: Any) -> SymbolicValue:
    value = symbol._value  # noqa: SLF001
    if isinstance(value, Parameter):
        _refuse(symbol, what, "pass the parameter on whole and take the part inside a function with @op")
    return SymbolicValue(symbol._trace, Ref(operation=value.operation, path=(*value.path, key)), annotation)  # noqa: SLF001


def _type_at(symbol: SymbolicValue, key: str | int) -> Any:
    """The type of a part, by its key or position."""
    annotation = symbol._annotation  # noqa: SLF001
    keys, positions = keys_of(annotation), positions_of(annotation)
    if keys is not None and key in keys:
        return keys[str(key)]
    if positions is not None and isinstance(key, int) and -len(positions) <= key < len(positions):
        return positions[key]
    if keys is not None or positions is not None:
        parts = ", ".join(map(repr, keys if keys is not None else range(len(positions or ()))))
        _refuse(symbol, f"{{0}}[{key!r}]", f"{type_name(annotation)} has the parts {parts}")
    if is_scalar(annotation):
        _refuse(symbol, f"{{0}}[{key!r}]", IN_AN_OP)
    return item_of(annotation) if isinstance(key, int) else value_of(annotation)


def _refusal(what: str, instead: str) -> Callable[..., Any]:
    def refuse(symbol: SymbolicValue, *_: object) -> NoReturn:
        _refuse(symbol, what, instead)

    return refuse


def _refuse_operators() -> None:
    for method, what, instead in _REFUSED:
        setattr(SymbolicValue, method, _refusal(what, instead))
    for name, sign in _COMPARISONS.items():
        setattr(SymbolicValue, f"__{name}__", _refusal(f"{{0}} {sign} ...", "compare inside a function with @op"))
    for name, sign in _ARITHMETIC.items():
        setattr(SymbolicValue, f"__{name}__", _refusal(f"{{0}} {sign} ...", "compute it inside a function with @op"))
        setattr(SymbolicValue, f"__r{name}__", _refusal(f"... {sign} {{0}}", "compute it inside a function with @op"))


_refuse_operators()
