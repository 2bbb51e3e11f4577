"""Equal requests that are on their way at the same time become one: the first asks, the others wait for its answer.

It knows keys and whoever waits for them, across all threads and event loops of this process; it does not know requests.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any

_FLIGHTS: dict[tuple[str, str], Future[Any]] = {}
_LOCK = threading.Lock()


def claim(place: str, keys: Iterable[str]) -> tuple[list[str], dict[str, Future[Any]]]:
    """Say which keys one is going to ask for.

    Args:
        place: The cache the answers will be in.
        keys: Names of requests, the same for all who would take the same answer.

    Returns:
        The keys that are the caller's own, each to be given to `land` and all of them to `end`; and the keys that somebody
        asks for already, with the results to come.
    """
    own: list[str] = []
    others: dict[str, Future[Any]] = {}
    with _LOCK:
        for key in keys:
            flight = _FLIGHTS.get((place, key))
            if flight is not None:
                others[key] = flight
                continue
            flight = _FLIGHTS[place, key] = Future()
            flight.set_running_or_notify_cancel()  # whoever waits for it cannot cancel it
            own.append(key)
    return own, others


def land(place: str, key: str, result: Any) -> None:
    """Give a result to all who wait for it."""
    _FLIGHTS[place, key].set_result(result)


def end(place: str, keys: Iterable[str], abandoned: Any) -> None:
    """End flights, once their answers are in the cache: nobody falls between the two.

    Args:
        place: As in `claim`.
        keys: The caller's own.
        abandoned: The result of those that did not land.
    """
    with _LOCK:
        flights = [_FLIGHTS.pop((place, key)) for key in keys]
    for flight in flights:
        if not flight.done():
            flight.set_result(abandoned)
