"""Files that a process keeps locked for as long as it lives: the kernel lets go when it dies, however it dies.

It knows `flock`; it does not know what the files stand for. A child that was forked holds none of its parent's locks.
"""

from __future__ import annotations

import fcntl
import os
import weakref
from contextlib import suppress
from pathlib import Path

_HELD: weakref.WeakSet[FileLock] = weakref.WeakSet()


class FileLock:
    """A lock on a file, which is made for its owner alone (0600) when there is none.

    Args:
        path: The file.
        is_shared: Whether others may hold it shared as well.

    Raises:
        OSError: The file cannot be opened.
    """

    def __init__(self, path: Path, *, is_shared: bool = False) -> None:
        self.path = path
        mode = fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX
        while True:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(self._descriptor, mode)
                if _is_at(path, self._descriptor):
                    break
            except BaseException:
                self.release()
                raise
            self.release()  # somebody removed the file before it was locked
        _HELD.add(self)

    def try_alone(self) -> bool:
        """Turn a shared lock into one that nobody shares; whether that was possible at once. If not, the lock may be lost."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        """Let go of it."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def remove(self) -> None:
        """Remove the file, and let go of it."""
        self.path.unlink(missing_ok=True)
        self.release()


def remove_unless_held(path: Path) -> bool:
    """Remove a file that nobody holds locked; whether there is none now."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _is_at(path: Path, descriptor: int) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    return False


def _let_go_in_child() -> None:
    for lock in list(_HELD):
        lock.release()
    _HELD.clear()


os.register_at_fork(after_in_child=_let_go_in_child)
