"""One run that is killed again and again until it is finished, and everything that must hold then.

It knows what the counting server, the ledger, the cache and the store say about a run; it does not know where it was killed.
"""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from xcs_airflow.ir import CachePolicy, Graph, LLMMetadata, LLMOperation, Operation, Ref
from xcs_airflow.plan.lower import lower
from xcs_airflow.runtime.books import Usage, total
from xcs_airflow.runtime.segments import all_books
from xcs_airflow.runtime.store import LocalStore
from xcs_airflow.values import Hole, Message, Prompt

from .counting_server import CountingServer
from .mortal_worker import Worker, Workers

CODE = """
def load():
    return [f"ticket {index % 20}" for index in range(26)]


def load_distinct():
    return [f"ticket {index}" for index in range(20)]


def report(**answers):
    return {name: "\\n".join(lines) for name, lines in answers.items()}
"""
FOLDER = "runs/shop/r"


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


class Run:
    """A run in a folder of its own, that nobody has killed yet.

    Attributes:
        kills: How often it was killed.

    Args:
        folder: Its folder, which is made.
        graph: The pipeline.
        in_doubt: How many calls may be in doubt after a kill.
        server: Who answers.
        workers: Who works.
    """

    def __init__(self, folder: Path, graph: Graph, in_doubt: int, server: CountingServer, workers: Workers) -> None:
        self.kills = 0
        self._folder = folder
        self._in_doubt = in_doubt
        self._server = server
        self._workers = workers
        self._asked_before: Counter[str] = Counter()
        folder.mkdir()
        (folder / "shop.py").write_text(CODE)
        manifest = folder / "manifest.json"
        manifest.write_text(json.dumps(lower(graph).to_dict()))
        self._worker = Worker(str(manifest), str(folder / "store"), server.url, str(folder))
        self._store = LocalStore(folder / "store")
        server.reset()

    def go_on(self, **death: object) -> bool:
        """Start a worker; whether it lived.

        Args:
            **death: Where or when it dies, as in `Worker`.
        """
        (status,) = self._workers.run(replace(self._worker, **death))
        assert status in (0, -signal.SIGKILL), self._workers.log.read_text()
        if status:
            self.kills += 1
            self._note_what_is_remembered()
        return status == 0

    def results(self) -> dict[str, bytes]:
        """The bytes of every result, by name."""
        return {name: self._store.get(name) or b"" for name in self._store.list(f"{FOLDER}/steps")}

    def usage(self) -> Usage:
        """The sum of all books."""
        return total(entry for _, books in all_books(self._store, f"{FOLDER}/ledger") for entry in books.usage(lambda *_, **__: None))

    def check(self, results: dict[str, bytes]) -> None:
        """Everything that is promised about a run that is finished.

        Args:
            results: What a run has that was never killed.
        """
        assert self.results() == results
        received, _, tokens = self._server.counts()
        # No answer was lost: what was remembered at the moment of a kill was not asked again.
        assert {prompt: received[prompt] for prompt in self._asked_before} == self._asked_before
        # No call was settled twice, and every prompt was settled or is in doubt.
        settled = self._settled()
        assert set(settled) <= set(tokens.values())
        assert max(settled.values(), default=1) == 1
        # Not more in doubt than was in flight; nothing is in doubt where nobody was killed.
        in_doubt = [sum(entry.possibly_billed for entry in usage) for usage in self._usages()]
        assert all(0 <= calls <= self._in_doubt for calls in in_doubt)
        assert sum(in_doubt) <= self.kills * self._in_doubt
        assert sum(calls > 0 for calls in in_doubt) <= self.kills
        # Nothing was asked more often than that explains, and no call is missing in the books.
        assert len(received) == len(tokens)
        assert received.total() <= len(received) + self.kills * self._in_doubt
        assert received.total() <= settled.total() + sum(in_doubt)

    def _usages(self) -> list[list[Usage]]:
        return [books.usage(lambda *_, **__: None) for _, books in all_books(self._store, f"{FOLDER}/ledger")]

    def _settled(self) -> Counter[int]:
        """How often a call with so many prompt tokens was settled as answered, line by line."""
        settled: Counter[int] = Counter()
        for name in self._store.list(f"{FOLDER}/ledger"):
            for line in (self._store.get(name) or b"").split(b"\n")[:-1]:
                record = json.loads(line)
                if record["event"] == "settled" and record["outcome"] == "answered":
                    settled[record["input_tokens"]] += 1
        return settled

    def _note_what_is_remembered(self) -> None:
        """Note which answers the dead worker left, in a copy of the caches: the next worker finds them as they are."""
        received = self._server.counts().received
        for cache in (self._folder / "cache.sqlite", self._folder / "store" / FOLDER / "answers.sqlite"):
            if not cache.exists():
                continue
            for suffix in ("", "-wal"):
                side = Path(f"{cache}{suffix}")
                if side.exists():
                    shutil.copy(side, f"{self._folder / 'copy'}{suffix}")
            with closing(sqlite3.connect(self._folder / "copy")) as connection:
                if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'answers'").fetchone():
                    for (text,) in connection.execute("SELECT text FROM answers"):
                        prompt = text.decode().removeprefix("Re: ")
                        self._asked_before.setdefault(prompt, received[prompt])
            for path in self._folder.glob("copy*"):
                path.unlink()
