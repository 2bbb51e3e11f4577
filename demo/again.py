"""Starting the demo again: what the last one left is kept when it did not come to its end, and its processes are ended.

It knows the folder of the demo; it does not know what the demo does in it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from demo import HOST, DemoError, free_port, session_of, write_whole

_MARK = "XCS_DEMO_FOLDER"
_PORT = "model.port"
_PAID_FOR = (_PORT, "store", "cache.sqlite", "cache.sqlite-wal", "cache.sqlite-shm", "cache.sqlite.locks")


@contextmanager
def alone_in(folder: Path) -> Iterator[bool]:
    """Work in a folder that nobody else works in: empty, or with what an unfinished demo has paid for.

    Whatever is started while the block runs can be found and ended by the next demo, should this one be killed.

    Args:
        folder: The folder, which is made if need be.

    Yields:
        Whether a demo goes on that did not come to its end, that is, whose block was not left without an error.

    Raises:
        DemoError: Another demo works there.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder.with_name(f"{folder.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoError(f"another demo runs in {folder}") from None
        end_left_behind(folder)
        finished = folder / "finished"
        goes_on = (folder / "store").exists() and not finished.exists()
        _clear(folder, _PAID_FOR if goes_on else ())
        os.environ[_MARK] = str(folder)
        yield goes_on
        finished.touch()
    finally:
        os.close(lock)


def same_port(folder: Path) -> int:
    """Where the model listens: as in the demo that goes on, for answers are remembered by the address they came from."""
    kept = folder / _PORT
    with suppress(OSError, ValueError):
        port = int(kept.read_text())
        with socket.create_server((HOST, port)):
            return port
    port = free_port()
    write_whole(kept, str(port))
    return port


def end_left_behind(folder: Path) -> None:
    """End what a demo that was killed had started: what carries its mark, and the sessions that such a process leads.

    Programs that change their title, as Airflow's do, write over the mark; but they stay in their session.
    """
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    sessions: set[int] = set()
    while True:
        living = [process for process in psutil.process_iter() if process.pid not in own and _lives(process)]
        marked = {process.pid for process in living if _is_marked(process, folder)}
        sessions |= {pid for pid in marked if session_of(pid) == pid}
        left = [process for process in living if process.pid in marked or session_of(process.pid) in sessions]
        if not left:
            return
        for process in left:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(left, timeout=5)


def _lives(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


def _is_marked(process: psutil.Process, folder: Path) -> bool:
    with suppress(psutil.Error, OSError):
        return bool(process.environ().get(_MARK) == str(folder))
    return False


def _clear(folder: Path, kept: tuple[str, ...]) -> None:
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        if path.name not in kept:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
