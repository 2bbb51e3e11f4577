"""Equal requests that are on their way at the same time become one: the first asks, the others wait for its answer.

It knows keys and whoever waits for them, across all threads and event loops of this process; it does not know requests.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable
from concurrent.futures import Future
from typing import Any

_FLIGHTS: dict[tuple[str, str], Flight] = {}
_LOCK = threading.Lock()


class Flight:
    """The requests of one caller that are on their way. Most of them nobody waits for, so that only waiting costs a future."""

    def __init__(self) -> None:
        self._landed: dict[str, Any] = {}
        self._waiting: dict[str, Future[Any]] = {}

    def result(self, key: str) -> Future[Any]:
        """The result of a key, once it lands. The lock is held."""
        future = self._waiting.get(key)
        if future is None:
            future = self._waiting[key] = Future()
            future.set_running_or_notify_cancel()  # whoever waits for it cannot cancel it
            if key in self._landed:
                future.set_result(self._landed[key])
        return future

    def land(self, key: str, result: Any) -> None:
        """Give a result to all who wait for it, and to those who come before the flight ends."""
        with _LOCK:
            self._landed[key] = result
            future = self._waiting.get(key)
        if future is not None:
            future.set_result(result)

    def abandon(self, result: Any) -> None:
        """Give a result to all who wait for what did not land."""
        for key, future in self._waiting.items():
            if key not in self._landed:
                future.set_result(result)


def claim(place: str, keys: Iterable[str]) -> tuple[Flight, list[str], dict[str, Future[Any]]]:
    """Say which keys one is going to ask for.

    Args:
        place: The cache the answers will be in.
        keys: Names of requests, the same for all who would take the same answer.

    Returns:
        The caller's flight; the keys that are its own, each to land on it and all of them to be given to `end`; and the keys
        that somebody asks for already, with the results to come.
    """
    flight = Flight()
    own: list[str] = []
    others: dict[str, Future[Any]] = {}
    with _LOCK:
        for key in keys:
            known = _FLIGHTS.setdefault((place, key), flight)
            if known is flight:
                own.append(key)
            else:
                others[key] = known.result(key)
    return flight, own, others


def end(place: str, flight: Flight, keys: Collection[str], abandoned: Any) -> None:
    """End a flight, once its answers are in the cache: nobody falls between the two.

    Args:
        place: As in `claim`.
        flight: The caller's.
        keys: The caller's own.
        abandoned: The result of those that did not land.
    """
    with _LOCK:
        for key in keys:
            del _FLIGHTS[place, key]
    flight.abandon(abandoned)
