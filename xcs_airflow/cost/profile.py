"""What earlier runs of pipelines measured: the document `profile.json`, and how two of them become one.

It knows runs and what each operation did in them; it does not know ledgers, nor what an estimate makes of a measurement.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator

from xcs_airflow.canonical import DocumentError, canonical_json, digest, load_json, pretty_document
from xcs_airflow.cost.distribution import Distribution
from xcs_airflow.cost.figures import Figure, Money
from xcs_airflow.cost.prices import why_unreadable
from xcs_airflow.errors import Finding, PlanError
from xcs_airflow.values import Frozen

PROFILE_VERSION: Literal[1] = 1

MOST_RUNS = 10
"""So many runs of a pipeline are kept, the newest: older ones say less about the next, and the file stays small."""

_MOMENT = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$"


class OperationRun(Frozen):
    """What one operation did in one run.

    Attributes:
        model: The model it asked, as the pipeline names it; None for a plain function.
        shape: Digest of what its requests have in common, as `ModelCall.shape` has it; None for a plain function.
        code: Digest of the code that writes its prompt; None where there is none, or where only the books of the run were read.
        pack: How many items were asked in one request, at most.
        rows: Answers that were needed.
        hits: Of these, from the cache.
        duplicates: Of these, shared with an equal request of the same run.
        calls: Calls whose answers were used.
        discarded: Calls that were answered and paid for in vain.
        input_tokens: Of each answered call.
        output_tokens: Of each answered call.
        cached_tokens: Input tokens of all calls that the provider had in its own prompt cache.
        call_ms: Milliseconds of each live call; those in batches of a provider are not in it.
        batch_ms: Milliseconds from handing calls to a provider's batch API until the last of them was taken in; None when none was.
        cost_usd: Of all calls by the price list, as estimates are; None when a price was not known.
        items: How many items its result had; None when it was no list.
        busy_ms: Milliseconds that a plain function took, all its items and shards together; None when nobody measured it.
    """

    model: str | None = None
    shape: str | None = None
    code: str | None = None
    pack: int = Field(default=1, ge=1)
    rows: int = Field(default=0, ge=0)
    hits: int = Field(default=0, ge=0)
    duplicates: int = Field(default=0, ge=0)
    calls: int = Field(default=0, ge=0)
    discarded: int = Field(default=0, ge=0)
    input_tokens: Distribution = Distribution()
    output_tokens: Distribution = Distribution()
    cached_tokens: int = Field(default=0, ge=0)
    call_ms: Distribution = Distribution()
    batch_ms: int | None = Field(default=None, ge=0)
    cost_usd: Decimal | None = None
    items: int | None = Field(default=None, ge=0)
    busy_ms: int | None = Field(default=None, ge=0)


class Expectation(Frozen):
    """What had been expected before a run, of one operation or of all.

    Attributes:
        calls: Model calls.
        input_tokens: Of all calls.
        output_tokens: Of all calls.
        cost_usd: Of all calls.
        seconds: Of one call, or of all that a plain function does; of the run from start to end.
    """

    calls: Figure
    input_tokens: Figure
    output_tokens: Figure
    cost_usd: Money
    seconds: Figure


class RunProfile(Frozen):
    """What one run measured.

    Attributes:
        run_id: The run.
        ended: When it was over, in UTC, as in `2026-11-22T10:31:10Z`.
        seconds: From start to end; None when it was not done in one go.
        operations: By operation.
        expected: What had been expected of each operation; empty when nobody wrote it down.
        expected_total: What had been expected of the run.
    """

    run_id: str
    ended: str = Field(pattern=_MOMENT)
    seconds: float | None = Field(default=None, ge=0)
    operations: dict[str, OperationRun] = Field(default_factory=dict)
    expected: dict[str, Expectation] = Field(default_factory=dict)
    expected_total: Expectation | None = None

    @cached_property
    def rank(self) -> tuple[bool, str, str]:
        """Of two measurements of one run the higher one counts: what had been expected is kept, and later books say more."""
        return self.expected_total is not None, self.ended, canonical_json(self.model_dump(mode="json"))


class PipelineProfile(Frozen):
    """What the last runs of one pipeline measured.

    Attributes:
        runs: At most `MOST_RUNS`, each once, the newest last.
    """

    runs: tuple[RunProfile, ...] = ()

    @field_validator("runs")
    @classmethod
    def _in_order(cls, runs: tuple[RunProfile, ...]) -> tuple[RunProfile, ...]:
        return _newest(runs)

    def merged(self, other: PipelineProfile) -> PipelineProfile:
        """The runs of both. Neither order nor repetition matters: a run that is in both is counted once."""
        return PipelineProfile(runs=(*self.runs, *other.runs))

    @property
    def last(self) -> RunProfile | None:
        """The run that ended last; None when there is none."""
        return self.runs[-1] if self.runs else None

    @cached_property
    def digest(self) -> str:
        """SHA-256 of its canonical form."""
        return digest(self.model_dump(mode="json"))


class Profile(Frozen):
    """What runs measured: `profile.json`.

    Attributes:
        schema_version: Of this document.
        pipelines: By the pipeline's name.
    """

    schema_version: Literal[1] = PROFILE_VERSION
    pipelines: dict[str, PipelineProfile] = Field(default_factory=dict)

    @classmethod
    def of_run(cls, pipeline: str, run: RunProfile) -> Profile:
        """The profile of one run."""
        return cls(pipelines={pipeline: PipelineProfile(runs=(run,))})

    @classmethod
    def load(cls, path: Path) -> Profile:
        """Read a file; an empty profile when there is none.

        Raises:
            PlanError: It cannot be read or is not a profile (XCS406); carries every finding.
        """
        try:
            return cls.model_validate(load_json(path.read_bytes()))
        except FileNotFoundError:
            return cls()
        except OSError as error:
            reasons = [error.strerror or str(error)]
        except DocumentError as error:
            reasons = [why_unreadable(error)]
        except ValidationError as error:
            details = error.errors(include_url=False, include_context=False)
            reasons = [f"{'.'.join(map(str, detail['loc'])) or 'the document'}: {detail['msg']}" for detail in details]
        raise PlanError([Finding.of("XCS406", file=path, reason=reason) for reason in reasons])

    def merged(self, other: Profile) -> Profile:
        """The pipelines of both, with the runs of both."""
        pipelines = dict(self.pipelines)
        for name, runs in other.pipelines.items():
            pipelines[name] = pipelines[name].merged(runs) if name in pipelines else runs
        return Profile(pipelines=pipelines)

    def to_json(self) -> str:
        """`profile.json` as text: sorted keys, the same bytes every time."""
        return pretty_document(self.model_dump(mode="json", exclude_defaults=True) | {"schema_version": self.schema_version})

    def add_to(self, path: Path) -> Profile:
        """Merge it into a file, which is replaced at once: whoever reads it sees the old or the new one.

        Returns:
            What is in the file now.

        Raises:
            PlanError: The file is not a profile, or cannot be written (XCS406).
        """
        whole = Profile.load(path).merged(self)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(whole.to_json().encode())
                Path(scratch).replace(path)
            finally:
                Path(scratch).unlink(missing_ok=True)
        except OSError as error:
            raise PlanError.because("XCS406", file=path, reason=error.strerror or str(error)) from None
        return whole


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of `profile.json`."""
    schema = Profile.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "xcs-airflow profile", **schema}


def _newest(runs: Iterable[RunProfile]) -> tuple[RunProfile, ...]:
    best: dict[str, RunProfile] = {}
    for run in runs:
        known = best.get(run.run_id)
        if known is None or run.rank > known.rank:
            best[run.run_id] = run
    return tuple(sorted(best.values(), key=lambda run: (run.ended, run.run_id))[-MOST_RUNS:])
