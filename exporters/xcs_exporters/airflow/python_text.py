"""How values read in Python: as literals, or as names that were checked.

It knows Python; it does not know DAGs.
"""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import timedelta
from types import NoneType
from typing import Any


@dataclass(frozen=True)
class Name:
    """An identifier of the generated file.

    Attributes:
        text: ASCII letters, digits and underscores; not a keyword.
    """

    text: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", self.text, re.ASCII) or keyword.iskeyword(self.text):
            raise ValueError(self.text)


def distinct_names(texts: Iterable[str], reserved: Collection[str]) -> dict[str, Name]:
    """A name for every text, near to it and different from all others.

    Args:
        texts: Distinct texts.
        reserved: Names that mean something else in the file.
    """
    names: dict[str, Name] = {}
    taken = set(reserved)
    for text in texts:
        stem = re.sub(r"[^a-z0-9_]", "_", text.lower())
        if keyword.iskeyword(stem) or stem in reserved or not re.match("[a-z]", stem):
            stem = f"task_{stem}"
        name, number = stem, 2
        while name in taken:
            name, number = f"{stem}_{number}", number + 1
        taken.add(name)
        names[text] = Name(name)
    return names


def literal(value: object) -> str:
    """The Python expression of a value: ASCII on one line, and equal to the value when evaluated.

    Only values of exactly the known types are taken, so nothing brings a text form of its own.

    Raises:
        TypeError: The value has another type.
        ValueError: The value is a number that has no literal.
    """
    form = _FORMS.get(type(value))
    if form is None:
        raise TypeError(f"{type(value).__name__} has no literal")
    return form(value)


def _string(text: str) -> str:
    """As `ascii` writes it, in double quotes unless the text has some."""
    written = ascii(text)
    return f'"{written[1:-1]}"' if written[0] == "'" and '"' not in text else written


def _float(number: float) -> str:
    if not math.isfinite(number):
        raise ValueError(f"{number} has no literal")
    return repr(number)


def _duration(duration: timedelta) -> str:
    seconds = duration.total_seconds()
    return f"timedelta(seconds={int(seconds) if seconds.is_integer() else seconds})"


def _tuple(items: tuple[object, ...]) -> str:
    return f"({', '.join(map(literal, items))}{',' if len(items) == 1 else ''})"


def _list(items: list[object]) -> str:
    return f"[{', '.join(map(literal, items))}]"


def _dict(entries: dict[object, object]) -> str:
    return f"{{{', '.join(f'{literal(key)}: {literal(value)}' for key, value in entries.items())}}}"


_FORMS: dict[type, Callable[[Any], str]] = {
    Name: lambda name: name.text,
    NoneType: repr,
    bool: repr,
    dict: _dict,
    float: _float,
    int: repr,
    list: _list,
    str: _string,
    timedelta: _duration,
    tuple: _tuple,
}
