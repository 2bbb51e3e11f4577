"""Workers that are killed: each is forked from a warm process, runs a manifest, and dies by SIGKILL where or when it is told.

It knows the places in the runtime where a kill hurts; it does not know what must hold afterwards. Run as a program it takes orders as
lines of JSON, each a list of workers to run side by side, and answers with their exit statuses.
"""

from __future__ import annotations

import functools
import gc
import inspect
import json
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import xcs_airflow.runtime.store
from xcs_airflow.errors import XcsError
from xcs_airflow.manifest import Manifest
from xcs_airflow.runtime.cache.sqlite import SqliteCache
from xcs_airflow.runtime.cache.sqlite_claims import SqliteClaims
from xcs_airflow.runtime.intents import Intents
from xcs_airflow.runtime.ledger import Ledger
from xcs_airflow.runtime.line import Line
from xcs_airflow.runtime.pricing import price_of
from xcs_airflow.runtime.results import Results
from xcs_airflow.runtime.settings import RuntimeSettings
from xcs_airflow.runtime.store import LocalStore
from xcs_airflow.runtime.task import run_task

DONE, FAILED, BROKEN, KILLED = 0, 1, 2, -signal.SIGKILL
"""How a worker ends: well; with an error of ours, which is in the log; with any other error; or not by itself."""


@dataclass(frozen=True)
class Worker:
    """What a worker does, and how it dies.

    Attributes:
        manifest: The file of the manifest.
        store: Address of the store.
        server: Where the model is.
        code: The folder of the pipeline's modules.
        cache: Address of the cache; None means beside the store.
        tasks: Which tasks to run; none named runs all.
        run_id: The run.
        point: The place where it dies, one of `POINTS`; None lets it pass.
        nth: How often it must have come there.
        delay_s: After how many seconds it is killed from outside; None lets it live.
        clock_s: By how many seconds its clock is wrong.
        file_bytes: The longest file it may write; None means no limit.
    """

    manifest: str
    store: str
    server: str
    code: str
    cache: str | None = None
    tasks: tuple[str, ...] = ()
    run_id: str = "r"
    point: str | None = None
    nth: int = 1
    delay_s: float | None = None
    clock_s: float = 0
    file_bytes: int | None = None

    def run(self) -> None:
        """Run the manifest, or die on the way."""
        if self.clock_s:
            clock = time.time
            time.time = lambda: clock() + self.clock_s
        if self.file_bytes is not None:
            sys.dont_write_bytecode = True  # a torn file of it would stay beyond the limit
            _limit_files(self.file_bytes)
        if self.point is not None:
            POINTS[self.point](self)
        manifest = Manifest.model_validate_json(Path(self.manifest).read_bytes())
        route = {"endpoint": f"{self.server}/v1"}
        settings = RuntimeSettings(store=self.store, cache=self.cache, code=Path(self.code), models={"openai": route})
        for task in self.tasks or [task.id for task in manifest.tasks]:
            run_task(manifest, task, run_id=self.run_id, settings=settings)


class _Place:
    """A function at whose beginning or end a worker dies.

    Args:
        when: Whether it dies at the beginning or at the end.
        owner: The class it belongs to.
        name: Its name.
        concerns: Whether a call with these arguments counts.
    """

    def __init__(self, when: Literal["before", "after"], owner: type, name: str, concerns: Callable[..., bool] = lambda *_: True) -> None:
        self._when = when
        self._owner = owner
        self._name = name
        self._concerns = concerns

    def __call__(self, worker: Worker) -> None:
        original = getattr(self._owner, self._name)
        left = worker.nth

        def come(when: str, args: Sequence[Any]) -> None:
            nonlocal left
            if when == self._when and self._concerns(*args):
                left -= 1
                if left == 0:
                    _die()

        @functools.wraps(original)
        def called(this: Any, *args: Any, **kwargs: Any) -> Any:
            come("before", args)
            result = original(this, *args, **kwargs)
            come("after", args)
            return result

        @functools.wraps(original)
        async def awaited(this: Any, *args: Any, **kwargs: Any) -> Any:
            come("before", args)
            result = await original(this, *args, **kwargs)
            come("after", args)
            return result

        setattr(self._owner, self._name, awaited if inspect.iscoroutinefunction(original) else called)


def _in_the_middle_of_a_line(worker: Worker) -> None:
    appender = xcs_airflow.runtime.store._LocalAppender
    write = appender.write
    left = worker.nth

    def torn(this: Any, *lines: bytes) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.write(this._descriptor, b"\n".join(lines)[: -len(lines[-1]) // 2])
            _die()
        write(this, *lines)

    appender.write = torn


def _when_a_request_arrives(worker: Worker) -> None:
    told = json.dumps({"pid": os.getpid(), "nth": worker.nth}).encode()
    urllib.request.urlopen(urllib.request.Request(f"{worker.server}/kill", data=told), timeout=30).close()


def _limit_files(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _is_data(name: str, _: object) -> bool:
    return name.endswith(".jsonl")


POINTS: dict[str, Callable[[Worker], None]] = {
    "prompts are claimed": _Place("after", SqliteClaims, "take"),
    "before an intent": _Place("before", Intents, "announce"),
    "after an intent": _Place("after", Intents, "announce"),
    "sent and not received": _when_a_request_arrives,
    "received and not remembered": _Place("after", Line, "_attempt"),
    "before answers are remembered": _Place("before", SqliteCache, "put_many"),
    "while answers are remembered": _Place("before", SqliteCache, "_evict"),
    "remembered and not settled": _Place("after", SqliteCache, "put_many"),
    "before settlements are flushed": _Place("before", Ledger, "settled"),
    "in the middle of a line": _in_the_middle_of_a_line,
    "after settlements are flushed": _Place("after", Ledger, "settled"),
    "prompts are released": _Place("after", SqliteClaims, "release"),
    "before a data file": _Place("before", LocalStore, "put_file", _is_data),
    "after a data file": _Place("after", LocalStore, "put_file", _is_data),
    "before a commit": _Place("before", Results, "_commit"),
    "after a commit": _Place("after", Results, "_commit"),
    "before the books close": _Place("before", Ledger, "close"),
    "after the books close": _Place("after", Ledger, "close"),
}
"""Where a worker may die, in the order it comes there."""


class Workers:
    """A warm process that forks workers.

    Attributes:
        log: What workers wrote.
    """

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process = process
        self.log = log

    def run(self, *workers: Worker) -> list[int]:
        """Run workers side by side to their ends; gives their statuses."""
        self._process.stdin.write(json.dumps([asdict(worker) for worker in workers]) + "\n")
        self._process.stdin.flush()
        statuses: list[int] = json.loads(self._process.stdout.readline())
        return statuses


@contextmanager
def mortal_workers(log: Path) -> Iterator[Workers]:
    """The warm process, while the block runs."""
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output, text=True, start_new_session=True
        )
    try:
        yield Workers(process, log)
    finally:
        process.stdin.close()
        process.wait(60)
        process.stdout.close()


def _forked(worker: Worker) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = BROKEN
    try:
        worker.run()
        status = DONE
    except XcsError as error:
        _limit_files(resource.RLIM_INFINITY)
        print(error, file=sys.stderr)  # noqa: T201  # the log
        status = FAILED
    except BaseException:  # noqa: BLE001  # whatever it is, this is not the process to go on with
        _limit_files(resource.RLIM_INFINITY)
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _ended(workers: Sequence[Worker]) -> list[int]:
    began = time.monotonic()
    pids = [_forked(worker) for worker in workers]
    for delay_s, pid in sorted((worker.delay_s, pid) for worker, pid in zip(workers, pids, strict=True) if worker.delay_s is not None):
        time.sleep(max(0, began + delay_s - time.monotonic()))
        os.kill(pid, signal.SIGKILL)  # a worker that has ended is still there to be waited for
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]


def _warm_up() -> None:
    """Load what a worker loads, so that a fork is all it takes to have one."""
    import concurrent.futures.thread  # noqa: F401, PLC0415
    import encodings.idna  # noqa: F401, PLC0415

    import aiohttp  # noqa: F401, PLC0415

    import xcs_airflow.runtime.models.openai_compatible  # noqa: F401, PLC0415

    price_of(None)("openai/gpt-4.1-mini", 1, 1, 0)
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    _warm_up()
    for line in sys.stdin:
        statuses = _ended([Worker(**order) for order in json.loads(line)])
        sys.stdout.write(json.dumps(statuses) + "\n")
        sys.stdout.flush()
