"""Running one task of a manifest: what is finished stays, what is missing is computed, all or nothing is committed.

It knows the order of steps and what a condition leaves out; `steps.py` knows how one step is computed.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from xcs_airflow.errors import NotReadyError, RuntimeTaskError, XcsError
from xcs_airflow.garbage import collected_seldom
from xcs_airflow.manifest import Manifest
from xcs_airflow.runtime.attempt import Attempt
from xcs_airflow.runtime.books import Usage, total
from xcs_airflow.runtime.budget import open_purse, spending_from
from xcs_airflow.runtime.functions import code_on_path
from xcs_airflow.runtime.ledger import keeping_books
from xcs_airflow.runtime.parameters import complete
from xcs_airflow.runtime.probing import NothingToSpend, Remembered, probe
from xcs_airflow.runtime.results import Results
from xcs_airflow.runtime.session import Session
from xcs_airflow.runtime.settings import RuntimeSettings
from xcs_airflow.runtime.steps import Answering, StepRunner, levels
from xcs_airflow.runtime.store import Store, open_store
from xcs_airflow.runtime.telemetry import watched
from xcs_airflow.runtime.waiting import elsewhere, has_running_loop
from xcs_airflow.values import resolve

_LOG = logging.getLogger("xcs_airflow.runtime")


@dataclass(frozen=True, slots=True)
class TaskReport:
    """What one start of a task did.

    Attributes:
        task: The task's id.
        shard: Which part of it.
        ran: The steps that were computed; empty when all were done already.
        usage: What they used, by operation and model.
        seconds: How long it took.
    """

    task: str
    shard: int
    ran: tuple[str, ...]
    usage: tuple[Usage, ...]
    seconds: float

    def __str__(self) -> str:
        name = f"task {self.task}" + (f" shard {self.shard}" if self.shard else "")
        if not self.ran:
            return f"{name}: already done"
        if not self.usage:
            return f"{name}: done in {self.seconds:.1f} s, no calls"
        used = total(self.usage)
        cost = used.to_dict()["billed_cost_usd"]
        return (
            f"{name}: {used.calls} calls, {used.hits} cache hits, {used.duplicates} duplicates, "
            f"{used.input_tokens} + {used.output_tokens} tokens, {'unknown' if cost is None else cost} USD, {self.seconds:.1f} s"
        )


def run_task(
    manifest: Manifest,
    task_id: str,
    *,
    run_id: str,
    shard: int = 0,
    parameters: Mapping[str, Any] | None = None,
    settings: RuntimeSettings | None = None,
    attempt: int = 1,
) -> TaskReport:
    """Run one shard of a task. What the same run has finished already is not computed again.

    Args:
        manifest: What there is to do.
        task_id: Which of its tasks.
        run_id: Names the run; the same name again resumes it.
        shard: Which part of the task, counted from 0.
        parameters: Values for the pipeline's parameters; the rest take their defaults.
        settings: Where store, cache and models are; by default what the environment says.
        attempt: How often this was started, for the books.

    Raises:
        RuntimeTaskError: The task failed for good.
        ModelError: A model did not give a usable answer.
        ModelUnavailableError: The task should be tried again later.
    """
    if has_running_loop():
        # Functions of the pipeline may use event loops of their own.
        return elsewhere(lambda: _run(manifest, task_id, run_id, shard, parameters, settings, attempt))
    return _run(manifest, task_id, run_id, shard, parameters, settings, attempt)


def read_output(
    manifest: Manifest, *, run_id: str, parameters: Mapping[str, Any] | None = None, settings: RuntimeSettings | None = None
) -> Any:
    """The value of the pipeline in a finished run; None in place of what a condition left out.

    Args:
        manifest: Of the pipeline.
        run_id: The run.
        parameters: Its parameters; None reads the results whatever they were.
        settings: Where the store is; by default what the environment says.

    Raises:
        RuntimeTaskError: A part of it is not in the store (XCS602).
    """
    if manifest.output is None:
        return None
    settings = settings or RuntimeSettings.from_environment()
    given = None if parameters is None else complete(manifest.parameters, parameters)
    results = Results(open_store(settings.store), manifest, run_id, given)
    values = given if given is not None else {spec.name: spec.default for spec in manifest.parameters}
    return resolve(manifest.output, values, lambda step: None if results.form(step) == "skipped" else results.whole(step))


def _run(
    manifest: Manifest,
    task_id: str,
    run_id: str,
    shard: int,
    parameters: Mapping[str, Any] | None,
    settings: RuntimeSettings | None,
    attempt: int,
) -> TaskReport:
    started = time.perf_counter()
    task = manifest.task_by_id.get(task_id)
    if task is None:
        raise RuntimeTaskError.because("XCS601", name=task_id, known=manifest.task_by_id)
    if not 0 <= shard < task.shards:
        raise RuntimeTaskError.because("XCS609", shard=f"{shard}/{task.shards}", name=task_id, shards=task.shards)
    values = complete(manifest.parameters, parameters or {})
    settings = settings or RuntimeSettings.from_environment()
    this = Attempt(manifest, task, shard, run_id, attempt, values, settings, open_store(settings.store))
    with watched(this) as span, _failures_kept(this.store, f"{this.folder}/errors/{this.name}.json"):
        parts = [part for part in this.parts if part.missing]
        usage = _obeyed(this, parts) if parts else ()
        span.used(usage)
    ran = dict.fromkeys(step.id for part in parts for step in part.missing)
    report = TaskReport(task.id, shard, tuple(ran), usage, time.perf_counter() - started)
    _LOG.info("%s", report)
    return report


def _obeyed(this: Attempt, parts: Sequence[Attempt]) -> tuple[Usage, ...]:
    """What it used to do what the task says for parts with something missing; the books are closed however it ends."""
    price, is_probe = this.price, this.task.kind == "probe"
    purse = NothingToSpend(this) if is_probe else open_purse(this, price)
    usage: list[Usage] = []

    def session() -> Answering:
        if is_probe:
            return Remembered(this)
        batched = batches.Collected(this) if batches is not None else None
        return Session(this.settings, this.task.in_flight, this.ledger, memory=this.memory, purse=purse, batched=batched)

    def runner_of(part: Attempt) -> StepRunner:
        return StepRunner(part.owner, part.shard, part.values, part.results, part.settings, session)

    batches = _batches() if this.task.kind in ("submit", "poll", "collect") else None
    try:
        with code_on_path(this.settings.code), keeping_books(this.ledger), spending_from(purse), collected_seldom():
            if is_probe:
                probe(parts, runner_of)
            elif batches is not None and this.task.kind != "collect":
                work = batches.submit if this.task.kind == "submit" else batches.poll
                usage += work(parts, runner_of, price, purse)
            else:
                for part in parts:
                    runner = runner_of(part)
                    for level in levels(part.missing):
                        runner.run(level)
    finally:
        try:
            usage += this.ledger.close(price)
        finally:
            if purse is not None:
                purse.close()
    return tuple(usage)


def _batches() -> ModuleType:
    """What speaks to batch APIs, which few tasks do."""
    from xcs_airflow.runtime import batches  # noqa: PLC0415

    return batches


@contextmanager
def _failures_kept(store: Store, name: str) -> Iterator[None]:
    """Leave the reason of a failure where the results are. That a batch takes its time, or that not all is known, is none.

    Functions, caches and models report in their own words; what the system refuses besides is an error of the store.
    """
    try:
        yield
    except NotReadyError:
        raise
    except OSError as error:
        failure = RuntimeTaskError.because("XCS608", reason=str(error))
        _record(store, name, failure)
        raise failure from error
    except XcsError as error:
        _record(store, name, error)
        raise
    except Exception as error:
        _record(store, name, RuntimeTaskError.because("XCS615", error=f"{type(error).__name__}: {error}"))
        raise


def _record(store: Store, name: str, error: XcsError) -> None:
    """Leave the reason of a failure where the run's results are."""
    document = {"retryable": is_retryable(error), "findings": [finding.to_dict() for finding in error.findings]}
    try:
        store.put(name, json.dumps(document).encode())
    except (OSError, XcsError) as reason:
        _LOG.warning("the reason of the failure could not be stored: %s", reason)


def is_retryable(error: XcsError) -> bool:
    """Whether the same task may succeed later."""
    return bool(getattr(error, "retryable", False))
