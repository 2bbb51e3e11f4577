"""Runs the tasks of a manifest here, in order, as a platform would: what waits for a provider's batch holds up only what needs it.

It knows the order of tasks and their shards; what a task does is the runtime's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xcs_airflow.authoring.importing import importable
from xcs_airflow.errors import NotReadyError
from xcs_airflow.manifest import Manifest, Task

if TYPE_CHECKING:
    from xcs_airflow.runtime import TaskReport
    from xcs_airflow.runtime.settings import RuntimeSettings

_FIRST_PAUSE_S = 1.0
"""Small batches are often done at once; pauses grow to what the manifest says."""

Observer = Callable[[Task, int, "TaskReport"], None]
"""Is told after every start of a task: the task, the shard, and what happened."""

Onlooker = Callable[[Task, int, str], None]
"""Is told why a task is not ready: the task, the shard, and the reason."""


Start = tuple[Task, int]
"""A task and one of its shards."""


@dataclass(frozen=True)
class LLMOptimizedExecutor:
    """Runs a manifest in this process: `LLMOptimizedExecutor(manifest).run("run-1")`.

    Attributes:
        manifest: What to run.
        settings: Store, cache, models and the folder of the code; by default those of the environment.
        observer: Who is told what was done.
        onlooker: Who is told what is waited for.
    """

    manifest: Manifest
    settings: RuntimeSettings | None = None
    observer: Observer | None = None
    onlooker: Onlooker | None = None

    def run(self, run_id: str, parameters: Mapping[str, Any] | None = None) -> Any:
        """Run every task and return the pipeline's value. What an earlier run of the same id has finished is not done again.

        Args:
            run_id: The run's name in the store.
            parameters: Values for the pipeline's parameters; the rest take their defaults.

        Raises:
            RuntimeTaskError: A task failed.
            ModelError: A model gave no usable answer.
        """
        from xcs_airflow.runtime import read_output  # noqa: PLC0415  # compile time does without
        from xcs_airflow.runtime.settings import RuntimeSettings  # noqa: PLC0415  # the same

        settings = self.settings or RuntimeSettings.from_environment()
        with nullcontext() if settings.code is None else importable(settings.code):
            # No start is dear here, and a task finds for itself what is known.
            tasks = [task for task in self.manifest.tasks if task.kind != "probe"]
            starts = [(task, shard) for task in tasks for shard in range(task.shards)]
            pause_s = _FIRST_PAUSE_S
            while rest := self._not_ready(starts, run_id, parameters, settings):
                if len(rest) < len(starts):  # perhaps another batch has just begun
                    pause_s = _FIRST_PAUSE_S
                starts = rest
                time.sleep(pause_s)
                pause_s = min([pause_s * 2, *(self._poll_every_s(task) for task, _ in starts if task.kind == "poll")])
            return read_output(self.manifest, run_id=run_id, parameters=parameters, settings=settings)

    def _not_ready(
        self, starts: Sequence[Start], run_id: str, parameters: Mapping[str, Any] | None, settings: RuntimeSettings
    ) -> list[Start]:
        """Run what can be run; gives what waits for a batch, and what waits for that."""
        from xcs_airflow.runtime import run_task  # noqa: PLC0415  # compile time does without

        rest: list[Start] = []
        unfinished: set[str] = set()
        for task, shard in starts:
            if not unfinished.isdisjoint(task.needs):
                rest.append((task, shard))
                unfinished.add(task.id)
                continue
            try:
                report = run_task(self.manifest, task.id, run_id=run_id, shard=shard, parameters=parameters, settings=settings)
            except NotReadyError as error:
                rest.append((task, shard))
                unfinished.add(task.id)
                if self.onlooker:
                    self.onlooker(task, shard, error.findings[0].message)
            else:
                if self.observer:
                    self.observer(task, shard, report)
        return rest

    def _poll_every_s(self, task: Task) -> float:
        batch = self.manifest.task_by_id[task.part_of or task.id].provider_batch
        return batch.poll_every_s if batch is not None else _FIRST_PAUSE_S
