"""One run that is killed again and again until it is finished, and everything that must hold then.

It knows what the counting server, the ledger, the cache and the store say about a run; it does not know where it was killed.
"""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import tempfile
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from xcs_airflow.ir import CachePolicy, Graph, LLMMetadata, LLMOperation, Operation, Ref
from xcs_airflow.plan.lower import lower
from xcs_airflow.runtime.segments import all_books
from xcs_airflow.runtime.store import LocalStore
from xcs_airflow.values import Hole, Message, Prompt

from .counting_server import CountingServer
from .mortal_worker import DONE, FAILED, KILLED, Worker, Workers

_MEASURED = re.compile(rb'"busy_ms":\s*\d+,?')

CODE = """
def load():
    return [f"ticket {index % 20}" for index in range(26)]


def load_distinct():
    return [f"ticket {index}" for index in range(20)]


def report(**answers):
    return {name: "\\n".join(lines) for name, lines in answers.items()}
"""


def shop(in_flight: int, questions: tuple[str, ...] = ("sort",), *, is_remembered: bool = True) -> Graph:
    """load -> questions, side by side -> report.

    Args:
        in_flight: How many calls at a time.
        questions: The names of the questions.
        is_remembered: Whether other runs may take the answers; if not, the run itself remembers them row by row, and no two are equal.
    """
    load = Operation(id="load", func="shop:load" if is_remembered else "shop:load_distinct")
    asking = [
        LLMOperation(
            id=name,
            prompt=Prompt(messages=(Message(parts=(f"{name} ", Hole(input="ticket"))),)),
            inputs={"ticket": Ref(operation="load")},
            map_over=("ticket",),
            metadata=LLMMetadata(model="openai/gpt-4.1-mini", temperature=0 if is_remembered else 1),
            cache=CachePolicy() if is_remembered else None,
            batch={"group": "openai", "in_flight": in_flight},
        )
        for name in questions
    ]
    report = Operation(id="report", func="shop:report", inputs={name: Ref(operation=name) for name in questions})
    return Graph([load, *asking, report], name="shop", output=Ref(operation="report"))


def _no_price(*_: object, **__: object) -> None:
    """Money is not what is counted here."""


class Run:
    """A run in a folder of its own, that nobody has stopped yet.

    Attributes:
        folder: Its folder.
        store: Its store.
        kills: How often one of its workers was killed.
        failures: How often one of them failed.

    Args:
        folder: Its folder, which is made if need be.
        graph: The pipeline.
        in_flight: How many calls one worker makes at a time.
        server: Who answers.
        workers: Who works.
        code: The folder of the pipeline's modules; None writes those of `shop`.
    """

    def __init__(
        self, folder: Path, graph: Graph, in_flight: int, server: CountingServer, workers: Workers, code: Path | None = None
    ) -> None:
        self.folder = folder
        self.kills = self.failures = 0
        self._in_flight = in_flight
        self._server = server
        self._workers = workers
        self._asked_before: Counter[str] = Counter()
        folder.mkdir(exist_ok=True)
        if code is None:
            (folder / "shop.py").write_text(CODE)
        manifest = folder / "manifest.json"
        manifest.write_text(json.dumps(lower(graph).to_dict()))
        self._worker = Worker(str(manifest), str(folder / "store"), server.url, str(code or folder))
        self._place = f"runs/{graph.name}/r"
        self.store = LocalStore(folder / "store")
        server.reset()

    def go_on(self, *orders: dict[str, object]) -> list[int]:
        """Start workers side by side; gives how they ended.

        Args:
            *orders: What is special about each, as in `Worker`; one ordinary worker if there are none.
        """
        statuses = self._workers.run(*(replace(self._worker, **order) for order in orders or ({},)))
        assert set(statuses) <= {DONE, FAILED, KILLED}, self._workers.log.read_text()
        self.kills += statuses.count(KILLED)
        self.failures += statuses.count(FAILED)
        self._note_what_is_remembered()
        return statuses

    def log(self) -> str:
        """What the workers said last."""
        return self._workers.log.read_text()[-3000:]

    def results(self) -> dict[str, bytes]:
        """The bytes of every result, by name; of what says that it is complete, all but how long a function took."""
        found = {name: self.store.get(name) or b"" for name in self.store.list(f"{self._place}/steps")}
        return {name: _MEASURED.sub(b"", data) if data.startswith(b"{") else data for name, data in found.items()}

    def check(self, results: dict[str, bytes]) -> None:
        """Everything that is promised about a run that is finished, however often its workers were killed.

        Args:
            results: What a run has that was never stopped.
        """
        self.check_what_always_holds(results)
        received = self._server.counts().received
        # No call was settled twice.
        assert max(self.settled().values(), default=1) == 1
        # Not more in doubt than was in flight; nothing is in doubt where nobody was killed.
        in_doubt = self.in_doubt()
        assert max(in_doubt) <= self._in_flight
        assert sum(calls > 0 for calls in in_doubt) <= self.kills
        # Nothing was asked more often than that explains.
        assert received.total() <= len(received) + self.kills * self._in_flight

    def check_what_always_holds(self, results: dict[str, bytes]) -> None:
        """What is promised even when there was no room to remember answers.

        Args:
            results: What a run has that was never stopped.
        """
        assert self.results() == results
        received, _, tokens = self._server.counts()
        # No answer was lost: what was remembered when a worker ended was not asked again.
        assert {prompt: received[prompt] for prompt in self._asked_before} == self._asked_before
        # No call is missing in the books, and none is in them that was not made.
        settled, in_doubt = self.settled(), self.in_doubt()
        assert set(settled) <= set(tokens.values())
        assert min(in_doubt) >= 0
        assert settled.total() <= received.total() <= settled.total() + sum(in_doubt)
        # Nothing was damaged.
        assert list(self.folder.rglob("*.set-aside-*")) == []

    def in_doubt(self) -> list[int]:
        """How many calls of every attempt have no settlement."""
        books = (books for _, books in all_books(self.store, f"{self._place}/ledger", _no_price))
        return [sum(entry.possibly_billed for entry in segment.usage(_no_price)) for segment in books]

    def settled(self) -> Counter[int]:
        """How often a call with so many prompt tokens was settled as answered, line by line."""
        settled: Counter[int] = Counter()
        for name in self.store.list(f"{self._place}/ledger"):
            for line in (self.store.get(name) or b"").split(b"\n")[:-1]:
                record = json.loads(line)
                if record["event"] == "settled" and record["outcome"] == "answered":
                    settled[record["input_tokens"]] += 1
        return settled

    def _note_what_is_remembered(self) -> None:
        """Note which answers are there, in a copy of the caches: the next worker finds them as they are."""
        received, _, tokens = self._server.counts()
        prompts = {count: prompt for prompt, count in tokens.items()}
        for cache in (self.folder / "cache.sqlite", self.folder / "store" / self._place / "answers.sqlite"):
            if not cache.exists():
                continue
            with tempfile.TemporaryDirectory() as folder:
                for side in cache.parent.glob(f"{cache.name}*"):
                    if side.name.removeprefix(cache.name) in ("", "-wal", "-journal"):
                        shutil.copy(side, folder)
                with closing(sqlite3.connect(Path(folder, cache.name))) as connection:
                    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'answers'").fetchone():
                        for (count,) in connection.execute("SELECT input_tokens FROM answers"):
                            self._asked_before.setdefault(prompts[count], received[prompts[count]])
