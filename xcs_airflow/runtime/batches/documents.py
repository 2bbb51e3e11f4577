"""What is written down about the batches of one step: an intent before a batch is submitted, a receipt after it, its outcome.

It knows documents and their places; it does not know providers. Every document is written once, with `create`, so that of two
processes that do the same one goes on and the other finds what the first one did. All batches of a step are counted on, whatever
they are for: whoever hands something over has to be the first to take the next number.

    runs/PIPELINE/RUN/batches/STEP/0-of-4/FINGERPRINT/001.intent.json    before it is submitted: its keys and its mark
    …/001.receipt.json                                                   after it: the provider's id
    …/001.outcome.json                                                   when it has ended: what became of its requests
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from pydantic import ValidationError

from xcs_airflow.errors import RuntimeTaskError
from xcs_airflow.runtime.models.batch import Sought
from xcs_airflow.runtime.store import Store
from xcs_airflow.values import Frozen

CLASSES = ("succeeded", "rejected", "errored", "expired", "cancelled", "missing")
"""What can become of a request; together they are all requests of a batch."""

_ID_DIGITS = 40
"""Of a key, in the id of a request: Anthropic allows 64 characters, of letters, digits, `-` and `_`."""


class Intent(Frozen):
    """The word that a batch is going to be submitted.

    Attributes:
        series: How often the step had been submitted from the start.
        mark: A random word that tells the batch from all others, those of other stores and of a run before this one included.
        created_at: When this was written, in seconds since 1970.
        uploaded: The provider's name of the file; empty where there is none.
        sha256: Of the file.
        bytes: How large it is.
        keys: The keys of its requests.
        is_marked: Whether the provider is asked to keep what they share.
        goes_first: Whether others wait for it, to find in the provider's prompt cache what it writes.
    """

    series: int
    mark: str
    created_at: float
    uploaded: str
    sha256: str
    bytes: int
    keys: tuple[str, ...]
    is_marked: bool = False
    goes_first: bool = False

    def sought(self, within_s: float) -> Sought:
        """What tells the batch from all others, when it was created within so many seconds."""
        return Sought(self.mark, self.uploaded, len(self.keys), self.created_at, self.created_at + within_s)


class Receipt(Frozen):
    """The word that a batch was submitted, or certainly was not.

    Attributes:
        batch_id: The provider's name of it; None when it was not submitted.
        created_at: When this was written, in seconds since 1970; 0 when a person wrote it.
        reason: Why it was not.
        is_lost: Whether it set out and never arrived, in contrast to one that was turned away or held back.
    """

    batch_id: str | None
    created_at: float = 0
    reason: str = ""
    is_lost: bool = False


class Lack(Frozen):
    """Why a request has no answer.

    Attributes:
        key: Of the request.
        why: What became of it.
        reason: For people.
        is_worth_trying: Whether it may be answered another time.
        answer: The answer that was no good, when the model is to be told.
    """

    key: str
    why: Literal["rejected", "errored", "expired", "cancelled", "missing"]
    reason: str
    is_worth_trying: bool = False
    answer: str | None = None


class Outcome(Frozen):
    """What became of a batch.

    Attributes:
        counts: How many requests there are of each class.
        lacks: Those without an answer.
        is_round: Whether the requests were tried: not when nobody knows whether the batch was submitted, and not when the
            provider had no room for it.
        ended_at: When it had ended at the provider, at the earliest, in seconds since 1970; 0 when nothing is known.
    """

    counts: dict[str, int]
    lacks: tuple[Lack, ...] = ()
    is_round: bool = True
    ended_at: float = 0

    @property
    def answers(self) -> int:
        """How many requests the model answered, well or not."""
        return self.counts["succeeded"] + self.counts["rejected"]

    @classmethod
    def of(cls, requests: int, lacks: Iterable[Lack], *, is_round: bool = True, ended_at: float = 0) -> Outcome:
        """What became of so many requests, of which these have no answer."""
        without = tuple(lacks)
        counted = Counter[str](lack.why for lack in without)
        counts = {name: counted[name] for name in CLASSES if name != "succeeded"}
        return cls(counts={"succeeded": requests - len(without), **counts}, lacks=without, is_round=is_round, ended_at=ended_at)

    def __str__(self) -> str:
        return ", ".join(f"{count} {name}" for name, count in self.counts.items() if count)


@dataclass(slots=True)
class Batch:
    """One batch, as far as it is known.

    Attributes:
        name: Its place, without the words at the end.
        intent: Always there.
        receipt: None as long as nobody has written one.
        outcome: None as long as it has none.
    """

    name: str
    intent: Intent
    receipt: Receipt | None = None
    outcome: Outcome | None = None

    @property
    def number(self) -> int:
        """The how manieth batch of its step it is."""
        return int(self.name.rpartition("/")[2])

    @property
    def was_not_submitted(self) -> bool:
        """Whether it certainly costs nothing and brings nothing."""
        return self.receipt is not None and self.receipt.batch_id is None

    @property
    def is_open(self) -> bool:
        """Whether something may come of it."""
        return self.outcome is None and not self.was_not_submitted

    @property
    def receipt_name(self) -> str:
        """Where its receipt belongs."""
        return f"{self.name}.receipt.json"


_Document = TypeVar("_Document", Intent, Receipt, Outcome)


@dataclass(slots=True)
class Dossier:
    """All batches of one step in one shard.

    Attributes:
        store: Where they are written down.
        folder: In which folder.
        batches: What is known of them, in the order they were begun.
    """

    store: Store
    folder: str
    batches: list[Batch] = field(default_factory=list)

    def load(self) -> Dossier:
        """Read what there is; what is known to have ended is not read again.

        Raises:
            RuntimeTaskError: A document is damaged (XCS608).
        """
        known = {batch.name: batch for batch in self.batches}
        names = set(self.store.list(self.folder))
        for name in sorted(name.removesuffix(".intent.json") for name in names if name.endswith(".intent.json")):
            batch = known.get(name)
            if batch is None:
                batch = known[name] = Batch(name, self._read(f"{name}.intent.json", Intent))
            if batch.receipt is None and batch.receipt_name in names:
                batch.receipt = self._read(batch.receipt_name, Receipt)
            if batch.outcome is None and f"{name}.outcome.json" in names:
                batch.outcome = self._read(f"{name}.outcome.json", Outcome)
        self.batches = sorted(known.values(), key=lambda batch: batch.number)
        return self

    @property
    def open(self) -> list[Batch]:
        """The batches of which something may come."""
        return [batch for batch in self.batches if batch.is_open]

    @property
    def series(self) -> int:
        """The last series; 0 when there is none."""
        return self.batches[-1].intent.series if self.batches else 0

    @property
    def name_of_next(self) -> str:
        """The name of the next batch."""
        number = 1 + (self.batches[-1].number if self.batches else 0)
        return f"{self.folder}/{number:03}"

    def of_series(self, series: int) -> Iterator[Batch]:
        """The batches of one series."""
        return (batch for batch in self.batches if batch.intent.series == series)

    def begin(self, name: str, intent: Intent) -> Batch | None:
        """Write down that a batch is going to be submitted; None when somebody else is doing that."""
        if not self.store.create(f"{name}.intent.json", intent.model_dump_json().encode()):
            return None
        batch = Batch(name, intent)
        self.batches.append(batch)
        return batch

    def receive(self, batch: Batch, receipt: Receipt) -> bool:
        """Write down that a batch was submitted or was not; whether nobody had said anything before."""
        is_first = self.store.create(batch.receipt_name, receipt.model_dump_json().encode())
        batch.receipt = receipt if is_first else self._read(batch.receipt_name, Receipt)
        return is_first

    def is_given_up(self, batch: Batch) -> bool:
        """Whether somebody has written meanwhile that a batch was not submitted, or that nobody knows."""
        name = f"{batch.name}.outcome.json"
        data = self.store.get(name)
        if data is not None:
            batch.outcome = self._read(name, Outcome, data)
        return batch.was_not_submitted or (batch.outcome is not None and not batch.outcome.is_round)

    def end(self, batch: Batch, outcome: Outcome) -> None:
        """Write down what became of a batch. Who comes second has found the same."""
        self.store.create(f"{batch.name}.outcome.json", outcome.model_dump_json().encode())
        batch.outcome = outcome

    def _read(self, name: str, kind: type[_Document], data: bytes | None = None) -> _Document:
        data = self.store.get(name) if data is None else data
        try:
            return kind.model_validate_json(data or b"")
        except ValidationError as error:
            reason = error.errors(include_url=False, include_context=False, include_input=False)[0]["msg"]
            raise RuntimeTaskError.because("XCS608", reason=f"{name}: {reason}") from None


def custom_id(mark: str, key: str) -> str:
    """The id of a request in a batch: the same key gets the same id in the same batch."""
    return f"{mark}-{key[:_ID_DIGITS]}"
