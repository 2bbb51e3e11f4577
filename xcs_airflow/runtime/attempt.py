"""One start of one shard of a task: what it is, where its traces lie, and the books and the purse it keeps.

It knows names and places; it does not know what a task does.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from xcs_airflow.manifest import Manifest, Step, Task
from xcs_airflow.runtime.books import Price
from xcs_airflow.runtime.ledger import Ledger
from xcs_airflow.runtime.pricing import price_of
from xcs_airflow.runtime.results import Results, run_folder, run_memory, segment
from xcs_airflow.runtime.settings import RuntimeSettings
from xcs_airflow.runtime.store import Store


@dataclass(frozen=True)
class Attempt:
    """One start of one shard of a task.

    Attributes:
        manifest: What there is to do.
        task: Which of its tasks.
        shard: Which part of it, counted from 0.
        run_id: The run.
        number: How often this was started, counted from 1.
        values: All parameters of the run.
        settings: Where models and the cache are.
        store: Where results and books lie.
    """

    manifest: Manifest
    task: Task
    shard: int
    run_id: str
    number: int
    values: Mapping[str, Any]
    settings: RuntimeSettings
    store: Store

    @property
    def folder(self) -> str:
        """Where everything of the run lies."""
        return run_folder(self.manifest.pipeline, self.run_id)

    @property
    def name(self) -> str:
        """What tells this attempt from others of the run; the same number twice is one name."""
        return f"{segment(self.task.id)}/{self.shard}-of-{self.task.shards}.{self.number}"

    @property
    def memory(self) -> str:
        """Address of the cache that belongs to the run alone."""
        return run_memory(self.settings.store, self.manifest.pipeline, self.run_id)

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps this shard works for. A step that is not mapped runs once, whatever the number of shards."""
        return tuple(step for step in self.owner.steps if step.map_over or self.shard == 0)

    @property
    def owner(self) -> Task:
        """The task that has the steps: itself, or the one it submits, polls or probes for."""
        return self.manifest.task_by_id[self.task.part_of] if self.task.part_of is not None else self.task

    @property
    def parts(self) -> tuple[Attempt, ...]:
        """What it works for, a shard at a time: its own, and if it polls or probes, each one of the task it is part of."""
        is_for_all = self.task.kind in ("poll", "probe")
        return tuple(replace(self, shard=shard) for shard in range(self.owner.shards)) if is_for_all else (self,)

    @cached_property
    def results(self) -> Results:
        """The results of the run."""
        return Results(self.store, self.manifest, self.run_id, self.values)

    @cached_property
    def price(self) -> Price:
        """What calls cost.

        Raises:
            PlanError: The price file is not valid.
        """
        return price_of(self.settings.prices)

    @cached_property
    def missing(self) -> tuple[Step, ...]:
        """Of its steps those without a good result."""
        return tuple(step for step in self.steps if not self.results.is_finished(step.id, self.shard))

    @cached_property
    def ledger_segment(self) -> str:
        """The name of its part of the run's ledger, which no other process writes."""
        return f"{self.folder}/ledger/{self.name}.{uuid.uuid4().hex[:12]}.jsonl"

    @cached_property
    def ledger(self) -> Ledger:
        """The books of this attempt."""
        return Ledger(lambda: self.store.appender(self.ledger_segment), self.price)
