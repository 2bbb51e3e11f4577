"""Which protocols there are, and who speaks each: a function `opened(target, in_flight)` that gives a provider for a block.

It knows names and where they lead; it opens nothing. Packages add protocols of their own by entry points of the group
`xcs_airflow.models`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from xcs_airflow.errors import ModelError

if TYPE_CHECKING:
    from xcs_airflow.runtime.models.provider import Provider

GROUP = "xcs_airflow.models"

DEFAULT = "openai"
"""What is spoken at an endpoint whose route does not say."""

_HERE = "xcs_airflow.runtime.models"

# They are entry points of this package as well, but reading those of all packages takes 20 ms beside an Airflow, and a checkout
# that is not installed has none.
BUILT_IN: Mapping[str, EntryPoint] = {
    name: EntryPoint(name, f"{_HERE}.{module}:opened", GROUP)
    for name, module in {"anthropic": "anthropic", "local": "local", "openai": "openai_compatible"}.items()
}

Opener = Callable[[Any, int], AbstractAsyncContextManager["Provider"]]


def check(protocol: str, model: str) -> None:
    """Whether anybody speaks a protocol.

    Args:
        protocol: Its name.
        model: Whose route names it.

    Raises:
        ModelError: Nobody does (XCS710).
    """
    _found(protocol, model)


def opener(protocol: str, model: str) -> Opener:
    """What opens a provider that speaks a protocol, given where calls go and how many of them at a time.

    Args:
        protocol: Its name.
        model: Whose route names it.

    Raises:
        ModelError: Nobody speaks it (XCS710), or who does cannot be imported (XCS711).
    """
    point = _found(protocol, model)
    try:
        found: Opener = point.load()
    except (ImportError, AttributeError) as error:
        raise ModelError.because("XCS711", protocol=protocol, model=model, value=point.value, reason=error) from error
    return found


def _found(protocol: str, model: str) -> EntryPoint:
    point = BUILT_IN.get(protocol) or _installed().get(protocol)
    if point is None:
        raise ModelError.because("XCS710", name=protocol, model=model, known=sorted({*BUILT_IN, *_installed()}))
    return point


@cache
def _installed() -> Mapping[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}
