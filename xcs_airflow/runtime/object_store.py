"""A store in a bucket, `s3://` or `gs://`, through obstore.

It knows object stores; credentials come from where the cloud puts them (environment, instance, workload identity).
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from xcs_airflow.errors import RuntimeTaskError
from xcs_airflow.runtime.store import Appender, Entry, StoreUnavailableError, Version, checked_segments, part_name

_EXTRAS = {"s3": "aws", "gs": "gcp"}
_LINES_PER_FLUSH = 128
_LIST_AT_A_TIME = 1000


class ObjectStore:
    """A bucket, or a folder of one.

    Args:
        bucket: The opened bucket.
        address: Where it is, for messages.
    """

    def __init__(self, bucket: Any, address: str) -> None:
        self._bucket = bucket
        self._address = address

    @classmethod
    def at(cls, address: str) -> Self:
        """Open `s3://bucket/folder` or `gs://bucket/folder`; nothing is asked yet.

        Raises:
            RuntimeTaskError: obstore is not installed (XCS617), or the address cannot be used (XCS608).
        """
        try:
            from obstore.exceptions import BaseError  # noqa: PLC0415  # an extra
            from obstore.store import from_url  # noqa: PLC0415
        except ImportError:
            extra = _EXTRAS[address.partition(":")[0]]
            raise RuntimeTaskError.because("XCS617", what=f"the store {address}", package="obstore", extra=extra) from None
        # obstore wants to be told before it speaks plain HTTP, as emulators do.
        named = (os.environ.get(name, "") for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT", "GOOGLE_BASE_URL"))
        is_plain = any(endpoint.startswith("http://") for endpoint in named)
        try:
            return cls(from_url(address.rstrip("/"), client_options={"allow_http": is_plain}), address)
        except (BaseError, ValueError) as error:
            raise RuntimeTaskError.because("XCS608", reason=f"{address}: {error}") from None

    def get(self, name: str) -> bytes | None:
        """The bytes of a name, None when there are none."""
        try:
            return b"".join(self.chunks(name))
        except FileNotFoundError:
            return None

    def chunks(self, name: str) -> Iterator[bytes]:
        """The bytes of a name, piece by piece."""
        import obstore  # noqa: PLC0415

        with self._reporting(FileNotFoundError):
            for chunk in obstore.get(self._bucket, _checked(name)):
                yield bytes(chunk)

    def put(self, name: str, data: bytes) -> None:
        """Write, replacing what was there."""
        import obstore  # noqa: PLC0415

        with self._reporting():
            obstore.put(self._bucket, _checked(name), data)

    def create(self, name: str, data: bytes) -> bool:
        """Write if nothing is there; whether it was written. The bucket decides, so only one of many writers wins."""
        return self._put_if(name, data, "create")

    def load(self, name: str) -> tuple[bytes, Version] | None:
        """The bytes of a name and the version they are, for `replace`; None when there are none."""
        import obstore  # noqa: PLC0415

        try:
            with self._reporting(FileNotFoundError):
                result = obstore.get(self._bucket, _checked(name))
                # The ETag is what S3 compares, the generation what Cloud Storage does; obstore takes no None.
                version = {name: result.meta[name] for name in ("e_tag", "version") if result.meta[name] is not None}
                return bytes(result.bytes()), version
        except FileNotFoundError:
            return None

    def replace(self, name: str, data: bytes, version: Version) -> bool:
        """Write if what is there is still this version; whether it was written. Of many writers, one wins."""
        return self._put_if(name, data, version)

    def delete(self, name: str) -> None:
        """Remove a name; nothing happens when there is none."""
        import obstore  # noqa: PLC0415

        with suppress(FileNotFoundError), self._reporting(FileNotFoundError):
            obstore.delete(self._bucket, _checked(name))

    def scratch(self) -> Path:
        """A folder for a file that will be given to `put_file`."""
        return Path(tempfile.gettempdir())

    def put_file(self, name: str, path: Path) -> None:
        """Upload a local file, replacing what was there, and remove it."""
        import obstore  # noqa: PLC0415

        with self._reporting():
            obstore.put(self._bucket, _checked(name), path)
        path.unlink()

    def list(self, prefix: str) -> Iterator[str]:
        """The names in a folder and below it, sorted."""
        for entry in self.entries(prefix):
            yield entry.name

    def entries(self, prefix: str) -> Iterator[Entry]:
        """The same names, with the time of each."""
        import obstore  # noqa: PLC0415

        with self._reporting():
            pages = obstore.list(self._bucket, f"{_checked(prefix)}/", chunk_size=_LIST_AT_A_TIME)
            found = [Entry(entry["path"], entry["last_modified"].timestamp()) for page in pages for entry in page]
        yield from sorted(found)

    def appender(self, name: str) -> Appender:
        """A new file of lines, kept as numbered objects, one per flush."""
        return _ObjectAppender(self, name)

    def _put_if(self, name: str, data: bytes, mode: Any) -> bool:
        """Write on a condition. obstore tries again after lost answers and then meets its own bytes: so it has won."""
        import obstore  # noqa: PLC0415
        from obstore.exceptions import AlreadyExistsError, PreconditionError  # noqa: PLC0415

        refused = (AlreadyExistsError, PreconditionError, FileNotFoundError)
        try:
            with self._reporting(*refused):
                obstore.put(self._bucket, _checked(name), data, mode=mode, use_multipart=False)
        except refused:
            return self.get(name) == data
        return True

    @contextmanager
    def _reporting(self, *expected: type[Exception]) -> Iterator[None]:
        """Tell what will pass from what will not; obstore has tried several times by then."""
        from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError  # noqa: PLC0415

        passing: tuple[type[BaseException], ...] = expected
        try:
            yield
        except passing:
            raise
        except (FileNotFoundError, PermissionDeniedError, UnauthenticatedError) as error:
            raise RuntimeTaskError.because("XCS608", reason=f"{self._address}: {_first_line(error)}") from None
        except BaseError as error:
            raise StoreUnavailableError.because("XCS608", reason=f"{self._address}: {_first_line(error)}") from None


class _ObjectAppender:
    lines_per_flush = _LINES_PER_FLUSH

    def __init__(self, store: ObjectStore, name: str) -> None:
        self._store = store
        self._name = name
        self._lines: list[bytes] = []
        self._parts: list[tuple[str, bytes]] = []
        self._count = 0
        self._lock = threading.Lock()
        self._sending = threading.Lock()

    def write(self, *lines: bytes) -> None:
        with self._lock:
            self._lines += [line + b"\n" for line in lines]

    def flush(self) -> None:
        """Send what waits. A part whose fate is unknown is sent again, byte for byte: so no line is in the file twice."""
        with self._sending:
            with self._lock:
                if self._lines:
                    self._parts.append((part_name(self._name, self._count), b"".join(self._lines)))
                    self._count += 1
                    self._lines = []
            while self._parts:
                self._store.create(*self._parts[0])
                del self._parts[0]

    def close(self) -> None:
        self.flush()


def _checked(name: str) -> str:
    return "/".join(checked_segments(name))


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
