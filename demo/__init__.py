"""The starter run for real on one machine: a small language model and an Airflow, each in processes that always end.

This file knows how to start a command, to ask it in JSON and to end all it started; it does not know what the command does.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import psutil  # type: ignore[import-untyped]

HOST = "127.0.0.1"

_POLL_S = 0.1
_PORTS = range(20_000, 32_000)
_SHOWN_LINES = 40
_REQUEST_TIMEOUT_S = 30
_OPENER = build_opener(ProxyHandler({}))  # everything asked here is on this machine

_Found = TypeVar("_Found")


class DemoError(Exception):
    """A part of the demo did not do what it is there for; the message says what it last wrote."""


class ProcessSession:
    """A command in a session of its own, ended together with everything it started. It runs while the block does.

    A session and not a process group: Airflow gives every running task a process group of its own, which a signal to
    the group of its parent never reaches.

    Args:
        command: Program and arguments.
        log: The file that takes what the command writes.
        env: The whole environment of the command; that of this process if None.
        cwd: Where it runs.
        grace_s: Seconds from the request to end until the end is forced.
    """

    def __init__(
        self, command: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None, grace_s: float = 5
    ) -> None:
        self.log = log
        self._start = partial(subprocess.Popen, command, env=env, cwd=cwd, start_new_session=True)
        self._grace_s = grace_s

    def __enter__(self) -> Self:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as output:
            self._process = self._start(stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.end()

    def members(self) -> list[int]:
        """The processes of the session that live. One that is dead but not yet collected by its parent does not."""
        living = (process.pid for process in psutil.process_iter(["status"]) if process.info["status"] != psutil.STATUS_ZOMBIE)
        return [pid for pid in living if session_of(pid) == self._process.pid]

    def wait_for(self, probe: Callable[[], _Found | None], what: str, timeout_s: float, poll_s: float = _POLL_S) -> _Found:
        """What the probe finds, as soon as it finds something.

        Args:
            probe: Called again and again until it returns anything but None; an OSError means not yet.
            what: What is waited for, as the error names it.
            timeout_s: Seconds after which waiting is pointless.
            poll_s: Seconds between two looks.

        Raises:
            DemoError: The command ended, or the time is over.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            status = self._process.poll()  # before the probe, which may find what was left behind on leaving
            with suppress(OSError):
                if (found := probe()) is not None:
                    return found
            if status is not None:
                raise DemoError(f"waiting for {what}: the process ended with status {status}\n{self.last_lines()}")
            if time.monotonic() > deadline:
                raise DemoError(f"waiting for {what}: not there after {timeout_s:.0f} s\n{self.last_lines()}")
            time.sleep(poll_s)

    def last_lines(self) -> str:
        """The end of what the command wrote, and where the rest is."""
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join([*lines[-_SHOWN_LINES:], f"(all of it: {self.log})"])

    def end(self) -> None:
        """Ask every process of the session to end, and force those that have not after the grace."""
        try:
            self._signal(signal.SIGTERM)
            deadline = time.monotonic() + self._grace_s
            while self.members() and time.monotonic() < deadline:
                time.sleep(_POLL_S)
        finally:
            while self._signal(signal.SIGKILL):
                time.sleep(_POLL_S)
            self._process.wait()

    def _signal(self, number: signal.Signals) -> bool:
        members = self.members()
        for pid in members:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        return bool(members)


def session_of(pid: int) -> int | None:
    """The session of a process; None when there is no such process."""
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return None


def free_port() -> int:
    """A port nobody listens on, below those the system gives to outgoing connections, which may take it before a slow server does."""
    while True:
        port = secrets.choice(_PORTS)
        with suppress(OSError), socket.create_server((HOST, port)):
            return port


def fetch_json(url: str, method: str = "GET", body: Any = None, token: str = "") -> Any:
    """Ask a server on this machine, in JSON.

    Raises:
        DemoError: It answers with an error; the message has its words.
        OSError: Nobody answers.
    """
    headers = {"Content-Type": "application/json", "Accept": "application/json", "Authorization": f"Bearer {token}"}
    data = None if body is None else json.dumps(body).encode()
    try:
        with _OPENER.open(Request(url, data, headers, method=method), timeout=_REQUEST_TIMEOUT_S) as answer:  # noqa: S310  # our own servers
            return json.load(answer)
    except HTTPError as error:
        raise DemoError(f"{error.code} to {method} {url}: {error.read().decode(errors='replace')}") from None


def write_whole(path: Path, text: str) -> None:
    """Write a file that others wait for: it is there with all of its text or not at all."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.write_text(text)
    unfinished.replace(path)
