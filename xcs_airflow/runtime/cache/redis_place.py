"""One tenant's names in a Redis server, and its errors in the words of a cache.

It knows the client and which errors pass; it does not know answers or claims. One server, not a cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from xcs_airflow.errors import RuntimeTaskError
from xcs_airflow.runtime.store import StoreUnavailableError

_CONNECT_S = 10
_ANSWER_S = 30
_ATTEMPTS = 3
_LONGEST_PAUSE_S = 2.0
_AT_A_TIME = 500

_Item = TypeVar("_Item")


class RedisPlace:
    """The names of one tenant.

    Attributes:
        client: The connected client. Nothing is asked until it is used.
        prefix: What all names begin with; nothing in it is a wildcard.

    Args:
        address: `redis://`, `rediss://` or `unix://`, with user and password where the server wants them.
        tenant: Whose names.

    Raises:
        RuntimeTaskError: The client is not installed (XCS617), or the address cannot be used (XCS614).
    """

    def __init__(self, address: str, tenant: str) -> None:
        try:
            import redis  # noqa: PLC0415  # an extra
            from redis.backoff import ExponentialBackoff  # noqa: PLC0415
            from redis.retry import Retry  # noqa: PLC0415
        except ImportError:
            what = f"the cache {without_password(address)}"
            raise RuntimeTaskError.because("XCS617", what=what, package="redis", extra="redis") from None
        self._name = without_password(address)
        self.prefix = f"xcs:{quote(tenant, safe='', errors='surrogatepass')}:"
        try:
            self.client: Any = redis.Redis.from_url(
                address,
                socket_connect_timeout=_CONNECT_S,
                socket_timeout=_ANSWER_S,
                retry=Retry(ExponentialBackoff(cap=_LONGEST_PAUSE_S), _ATTEMPTS),
            )
        except ValueError as error:
            raise RuntimeTaskError.because("XCS614", reason=f"{self._name}: {error}") from None

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """Tell what will pass from what will not; the client has tried several times by then.

        Raises:
            RuntimeTaskError: The server refuses what is asked (XCS614).
            StoreUnavailableError: It does not answer (XCS614).
        """
        from redis import exceptions  # noqa: PLC0415

        passing = (exceptions.ConnectionError, exceptions.TimeoutError, exceptions.ReadOnlyError)
        final = (exceptions.AuthenticationError, exceptions.AuthorizationError)
        try:
            yield
        except exceptions.RedisError as error:
            does_pass = isinstance(error, passing) and not isinstance(error, final)
            kind = StoreUnavailableError if does_pass else RuntimeTaskError
            raise kind.because("XCS614", reason=f"{self._name}: {error}") from None


def without_password(address: str) -> str:
    """An address as it may be shown."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def in_chunks(work: Callable[[Sequence[_Item]], None], items: Sequence[_Item]) -> None:
    """Give many things to a server that does one thing at a time, so that others get their turn."""
    for start in range(0, len(items), _AT_A_TIME):
        work(items[start : start + _AT_A_TIME])
