"""What a provider's batch API is to the runtime: requests go there in one file, results come back in another, in any order.

It knows the verbs that all such APIs share; what each says, the files beside this one know.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from xcs_airflow.runtime.models.protocols import DEFAULT
from xcs_airflow.runtime.models.provider import ModelAnswer, ModelRequest
from xcs_airflow.runtime.models.routes import Target

Kind = Literal["succeeded", "errored", "expired", "cancelled", "missing"]
"""What became of one request, in the provider's words; missing when it says nothing."""


class BatchResult(NamedTuple):
    """What the provider says about one request.

    Attributes:
        custom_id: The name the request went by.
        kind: What became of it.
        document: The answer of one that succeeded, as a live call would have given it.
        reason: Why there is no answer, for people.
        may_succeed: Whether the same request may be answered another time.
    """

    custom_id: str
    kind: Kind
    document: Any = None
    reason: str = ""
    may_succeed: bool = False


class ResultFile(NamedTuple):
    """A file of results.

    Attributes:
        name: Its name at the provider.
        results: How many the provider says are in it, at least.
    """

    name: str
    results: int = 0


class BatchStatus(NamedTuple):
    """How far a batch is.

    Attributes:
        has_ended: Whether all results there will ever be are there.
        files: Its result files.
        rest: What became of requests of which the results say nothing.
        reason: Why, for people.
        may_succeed: Whether they may be answered another time.
        is_turned_away: Whether the provider had no room for the batch, and has worked on nothing.
        ended_at: When it had ended, in seconds since 1970; None when the provider does not say.
    """

    has_ended: bool
    files: tuple[ResultFile, ...] = ()
    rest: Kind = "missing"
    reason: str = ""
    may_succeed: bool = True
    is_turned_away: bool = False
    ended_at: float | None = None


class Sought(NamedTuple):
    """What tells one batch from all others of an account.

    Attributes:
        mark: A word that nobody else uses: in the batch's metadata where there are any, and at the beginning of all its ids.
        uploaded: The provider's name of its file, which no other batch has; empty where there is none.
        requests: How many it has.
        since: When it cannot have been created yet, in seconds since 1970.
        until: When it cannot have been created any more, likewise.
    """

    mark: str
    uploaded: str
    requests: int
    since: float
    until: float


class UnknownFateError(Exception):
    """Nobody knows whether a batch was created: the request was sent, and no answer came that says so."""


class NotToldError(Exception):
    """The provider cannot say whether it has a batch, now or ever."""


class NotToldYetError(Exception):
    """The provider can say later whether it has a batch."""


@dataclass(frozen=True, slots=True)
class FileForm:
    """How requests stand in a file: before, between and after them."""

    head: bytes
    joint: bytes
    tail: bytes


class BatchApi(Protocol):
    """A provider's batch API. What it raises besides is a `ModelError`, final or to be tried later.

    Attributes:
        form: How requests stand in a file.
        attempt_s: How long one attempt to create a batch takes at most.
    """

    form: FileForm
    attempt_s: float

    def line(self, custom_id: str, request: ModelRequest) -> bytes:
        """One request, as it stands in a file."""

    def read(self, document: Any) -> ModelAnswer:
        """The answer in the document of a result.

        Raises:
            AttemptError: There is none in it.
        """

    async def upload(self, file: Path) -> str:
        """Hand over a file of requests, which costs nothing; gives its name there."""

    async def create(self, file: Path, uploaded: str, mark: str, until: float) -> str:
        """Let a file be worked on, which costs money; gives the batch's id.

        Args:
            file: The requests.
            uploaded: The provider's name of the file.
            mark: What the batch is to be found by.
            until: When no attempt may begin any more, by `time.monotonic`.

        Raises:
            UnknownFateError: It may or may not have been created.
        """

    async def find(self, sought: Sought) -> str | None:
        """The id of a batch that may have been created; None when it certainly was not.

        Raises:
            NotToldError, NotToldYetError: The provider does not say.
        """

    async def status(self, batch_id: str) -> BatchStatus:
        """How far a batch is."""

    def results(self, batch_id: str, status: BatchStatus, folder: Path) -> AsyncIterator[BatchResult]:
        """The results of a batch that has ended, in any order; they pass through a file in a folder."""

    async def cancel(self, batch_id: str) -> None:
        """Ask that no further request is worked on."""


def has_api(target: Target) -> bool:
    """Whether a model is served behind a batch API that is known here. Tests and models in this process have none."""
    return not target.is_stand_in and target.route.endpoint is not None and (target.route.protocol or DEFAULT) in ("openai", "anthropic")


def opened(target: Target) -> AbstractAsyncContextManager[BatchApi]:
    """The batch API of a target, ready while the block runs.

    Args:
        target: Whoever answers; one that `has_api`.

    Raises:
        ModelError: The variable with the key is not set.
    """
    if (target.route.protocol or DEFAULT) == "anthropic":
        from xcs_airflow.runtime.models import anthropic_batches  # noqa: PLC0415  # only the one that is used

        return anthropic_batches.opened(target)
    from xcs_airflow.runtime.models import openai_batches  # noqa: PLC0415

    return openai_batches.opened(target)
