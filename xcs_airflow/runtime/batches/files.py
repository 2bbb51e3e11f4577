"""Request files: prompts become lines, and lines become files that a provider takes. Only keys stand in memory.

It knows sizes and digests; it does not know whether a file is ever sent.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from xcs_airflow.errors import RuntimeTaskError
from xcs_airflow.manifest import ProviderBatch
from xcs_airflow.runtime.answers import MisfitError
from xcs_airflow.runtime.batches.documents import custom_id
from xcs_airflow.runtime.batches.priming import Turn
from xcs_airflow.runtime.models.batch import BatchApi
from xcs_airflow.runtime.models.provider import Message, ModelAnswer, ModelRequest
from xcs_airflow.runtime.question import Question

_MARK_BYTES = 8


@dataclass(slots=True)
class RequestFile:
    """The requests of one batch, in a file.

    Attributes:
        path: Where it is.
        prompts: Where the messages are, for whoever wants the requests once more.
        is_marked: Whether the provider is asked to keep what its requests share.
        goes_first: Whether others wait for its batch.
        mark: The random word of its batch.
        keys: The keys of its requests.
        size: In bytes.
    """

    path: Path
    prompts: Path
    is_marked: bool
    goes_first: bool
    mark: str = field(default_factory=lambda: secrets.token_hex(_MARK_BYTES))
    keys: list[str] = field(default_factory=list)
    size: int = 0
    _digest: Any = field(default_factory=hashlib.sha256)

    @property
    def sha256(self) -> str:
        """Digest of what was written."""
        return str(self._digest.hexdigest())

    def write(self, file: IO[bytes], data: bytes) -> None:
        """Add bytes."""
        file.write(data)
        self._digest.update(data)
        self.size += len(data)

    def requests(self, question: Question) -> Iterator[ModelRequest]:
        """The requests once more."""
        with self.prompts.open("rb") as lines:
            for line in lines:
                yield question.request(json.loads(line), is_marked=self.is_marked)


class RequestFiles:
    """Makes files of requests, one at a time, in a folder.

    Args:
        api: The provider they are for.
        question: What is asked.
        terms: How large a file may be.
        turn: The prompts and their keys.
        answers: Answers that were no good, by key: the model is told so.
        folder: Where files are made. Each takes the place of the one before.
    """

    def __init__(
        self,
        api: BatchApi,
        question: Question,
        terms: ProviderBatch,
        turn: Turn,
        answers: Mapping[str, str],
        folder: Path,
    ) -> None:
        self._api = api
        self._question = question
        self._terms = terms
        self._turn = turn
        self._answers = answers
        self._folder = folder
        self._next: tuple[str, list[Message]] | None = None

    def next(self) -> RequestFile | None:
        """The next file; None when there are no prompts left.

        Raises:
            RuntimeTaskError: One request is larger than a file may be (XCS726).
        """
        form, terms = self._api.form, self._terms
        turn = self._turn
        made = RequestFile(self._folder / "requests.jsonl", self._folder / "prompts.jsonl", turn.is_marked, turn.goes_first)
        with made.path.open("wb") as file, made.prompts.open("wb") as prompts:
            made.write(file, form.head)
            while len(made.keys) < terms.max_requests and (waiting := self._next or next(turn.prompts, None)):
                self._next = None
                key, messages = waiting
                told = self._told(key, messages)
                line = self._api.line(custom_id(made.mark, key), self._question.request(told, is_marked=turn.is_marked))
                joint = form.joint if made.keys else b""
                if made.size + len(joint) + len(line) + len(form.tail) > terms.max_bytes:
                    if not made.keys:
                        raise RuntimeTaskError.because(
                            "XCS726", operation=self._question.name, size=len(line), limit=terms.max_bytes, model=self._question.model
                        )
                    self._next = waiting
                    break
                made.write(file, joint + line)
                made.keys.append(key)
                prompts.write(json.dumps(told).encode() + b"\n")
            made.write(file, form.tail)
        return made if made.keys else None

    def _told(self, key: str, messages: list[Message]) -> list[Message]:
        """The messages, and what was wrong with the answer before."""
        if key not in self._answers:
            return messages
        answer = ModelAnswer(self._answers[key])
        try:
            self._question.read(answer)
        except MisfitError as misfit:
            return self._question.again(messages, answer, misfit)
        return messages
