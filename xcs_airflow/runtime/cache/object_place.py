"""One tenant's folder in a store: many names at a time, and errors in the words of a cache.

It knows a store and threads; it does not know answers or claims.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from xcs_airflow.errors import RuntimeTaskError
from xcs_airflow.runtime.results import segment
from xcs_airflow.runtime.store import Store, Version

_AT_A_TIME = 32

_Value = TypeVar("_Value")
_Result = TypeVar("_Result")


class ObjectPlace:
    """A folder. Its verbs are those of a store; each of them raises `RuntimeTaskError` (XCS614) when the store does not answer.

    Args:
        store: Where it is.
        tenant: Whose it is.
    """

    def __init__(self, store: Store, tenant: str) -> None:
        self._store = store
        self._folder = segment(tenant)

    def get(self, name: str) -> bytes | None:
        """The bytes of a name, None when there are none."""
        with _reporting():
            return self._store.get(self._name(name))

    def put(self, name: str, data: bytes) -> None:
        """Write, replacing what was there."""
        with _reporting():
            self._store.put(self._name(name), data)

    def create(self, name: str, data: bytes) -> bool:
        """Write if nothing is there; whether it was written."""
        with _reporting():
            return self._store.create(self._name(name), data)

    def load(self, name: str) -> tuple[bytes, Version] | None:
        """The bytes of a name and the version they are; None when there are none."""
        with _reporting():
            return self._store.load(self._name(name))

    def replace(self, name: str, data: bytes, version: Version) -> bool:
        """Write if what is there is still this version; whether it was written."""
        with _reporting():
            return self._store.replace(self._name(name), data, version)

    def delete(self, name: str) -> None:
        """Remove a name."""
        with _reporting():
            self._store.delete(self._name(name))

    def list(self, folder: str) -> list[str]:
        """The names in a folder and below it, sorted."""
        with _reporting():
            return [name.removeprefix(f"{self._folder}/") for name in self._store.list(self._name(folder))]

    def _name(self, name: str) -> str:
        return f"{self._folder}/{name}"


def side_by_side(work: Callable[[_Value], _Result], values: Collection[_Value]) -> list[_Result]:
    """The results for all values, in order; as many are worked on at a time as a store takes well."""
    if len(values) <= 1:
        return [work(value) for value in values]
    with ThreadPoolExecutor(min(_AT_A_TIME, len(values))) as threads:
        return list(threads.map(work, values))


@contextmanager
def _reporting() -> Iterator[None]:
    try:
        yield
    except RuntimeTaskError as error:
        # The class says whether trying again later helps.
        raise type(error).because("XCS614", reason=error.findings[0].message) from error
    except OSError as error:
        raise RuntimeTaskError.because("XCS614", reason=str(error)) from error
