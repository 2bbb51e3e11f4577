"""The DAG of a plan as plain values: what `templates/airflow/dag.py.j2` reads.

It knows which plan field becomes which argument of Airflow; it does not know how values are written in Python.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from xcs_airflow.ir.operation import Retry
from xcs_airflow.plan.cloud_graph import CloudGraph, PlannedTask
from xcs_airflow.plan.legalise import NameRule
from xcs_exporters.airflow.dag_language import NAMES
from xcs_exporters.airflow.describe import dag_doc, task_doc
from xcs_exporters.airflow.markdown_text import plain
from xcs_exporters.airflow.params import Param, params_of
from xcs_exporters.airflow.python_text import Name, distinct_names
from xcs_exporters.airflow.settings import AirflowSettings

MOST_EXPLICIT = 200
"""Up to this many tasks and twice as many edges a person can read a DAG file statement by statement; above it is a table."""

DAG_ID = NameRule(allowed="A-Za-z0-9_.-", max_length=250, filler="_")
FILE_STEM = NameRule(allowed="A-Za-z0-9_", max_length=80, filler="_")

RUNS, POLLS, PROBES = Name("RunTask"), Name("PollTask"), Name("ProbeTask")
"""The classes of the file: one runs a task of the manifest, one runs it until it says that a provider has finished, and one runs it to see
whether another need not be started."""

THOUGH_SKIPPED = "none_failed"
"""The trigger rule of tasks that wait for one that a probe may spare: Airflow skips it then, and by default what waits for it, too.
Source: https://airflow.apache.org/docs/apache-airflow/stable/core-concepts/dags.html#trigger-rules"""

_DEFAULT_RETRY = Retry()
_MAX_DESCRIPTION = 1000


@dataclass(frozen=True)
class DagTask:
    """One task of the DAG.

    Attributes:
        operator: The class that runs it.
        id: Its id, the same in the manifest.
        variable: What the file calls it.
        shards: How many times it is mapped; 1 is a plain task.
        needs: The ids of the tasks it waits for.
        options: The arguments that differ from the DAG's `default_args`.
    """

    operator: Name
    id: str
    variable: Name
    shards: int
    needs: tuple[str, ...]
    options: dict[str, Any]

    @property
    def named_options(self) -> list[tuple[Name, Any]]:
        """The options as keyword arguments."""
        return [(Name(name), value) for name, value in self.options.items()]


@dataclass(frozen=True)
class Dag:
    """The DAG file's holes.

    Attributes:
        generated_by: Name and version of the tool.
        source: `file:line` of the pipeline; None when it is not known.
        graph_digest: SHA-256 of the graph.
        id: The DAG's id.
        description: One line for people.
        schedule: Cron expression; None runs on demand only.
        timezone: Of the schedule.
        timeout: The longest a run may take.
        max_active_runs: How many runs may go on at a time.
        max_active_tasks: How many tasks may go on at a time; None takes Airflow's default.
        default_args: What holds for every task unless it says otherwise.
        params: What a run may set.
        tags: Labels, sorted.
        doc_lines: Markdown for people, by line.
        tasks: In plan order.
    """

    generated_by: str
    source: str | None
    graph_digest: str
    id: str
    description: str | None
    schedule: str | None
    timezone: str
    timeout: timedelta | None
    max_active_runs: int
    max_active_tasks: int | None
    default_args: dict[str, Any]
    params: tuple[Param, ...]
    tags: list[str]
    doc_lines: list[str]
    tasks: tuple[DagTask, ...]

    @property
    def is_explicit(self) -> bool:
        """Whether the file has a statement for every task, rather than a table."""
        return len(self.tasks) <= MOST_EXPLICIT and sum(len(task.needs) for task in self.tasks) <= 2 * MOST_EXPLICIT

    @property
    def has_polls(self) -> bool:
        """Whether a task asks a provider again and again."""
        return any(task.operator == POLLS for task in self.tasks)

    @property
    def has_probes(self) -> bool:
        """Whether a task looks first whether another need not be started."""
        return any(task.operator == PROBES for task in self.tasks)

    @property
    def edges(self) -> list[tuple[Name, Name]]:
        """Which task waits for which, by variable."""
        variables = {task.id: task.variable for task in self.tasks}
        return [(variables[need], task.variable) for task in self.tasks for need in task.needs]


def dag_of(plan: CloudGraph, settings: AirflowSettings, generated_by: str) -> Dag:
    """The DAG of a plan.

    Args:
        plan: What is to run.
        settings: What the user set for this target.
        generated_by: Name and version of the tool.
    """
    policy = plan.policy
    return Dag(
        generated_by=generated_by,
        source=plan.source,
        graph_digest=plan.graph_digest,
        id=settings.dag_id or DAG_ID.mangle(plan.name),
        description=plain(policy.description)[:_MAX_DESCRIPTION] or None,
        schedule=" ".join(policy.schedule.split()) if policy.schedule else None,
        timezone=policy.timezone,
        timeout=None if policy.deadline_s is None else timedelta(seconds=policy.deadline_s),
        max_active_runs=settings.max_active_runs,
        max_active_tasks=settings.max_active_tasks,
        default_args=_default_args(settings),
        params=params_of(plan.parameters),
        tags=sorted({"xcs", *settings.tags}),
        doc_lines=dag_doc(plan),
        tasks=_tasks(plan, settings),
    )


def _default_args(settings: AirflowSettings) -> dict[str, Any]:
    chosen = {"owner": settings.owner, "queue": settings.queue, "executor": settings.executor}
    return {
        "retries": _DEFAULT_RETRY.attempts - 1,
        "retry_delay": timedelta(seconds=_DEFAULT_RETRY.delay_s),
        "weight_rule": "absolute",
        **{name: value for name, value in chosen.items() if value is not None},
    }


def _tasks(plan: CloudGraph, settings: AirflowSettings) -> tuple[DagTask, ...]:
    variables = distinct_names([task.id for task in plan.tasks], NAMES)
    estimates = {operation.id: operation.estimate for operation in plan.operations}
    may_be_spared = plan.probe_of.keys()
    return tuple(
        DagTask(
            operator=_operator(task),
            id=task.id,
            variable=variables[task.id],
            shards=task.shards,
            needs=task.needs,
            options={**_options(task, settings, may_be_spared), "doc_md": task_doc(task, estimates)},
        )
        for task in plan.tasks
    )


def _operator(task: PlannedTask) -> Name:
    if task.spares is not None:
        return PROBES
    return RUNS if task.wait is None else POLLS


def _options(task: PlannedTask, settings: AirflowSettings, may_be_spared: AbstractSet[str]) -> dict[str, Any]:
    has_default_attempts = task.retry.attempts == _DEFAULT_RETRY.attempts
    has_default_delay = task.retry.delay_s == _DEFAULT_RETRY.delay_s
    options: Mapping[str, Any] = {
        "env": task.env or None,
        "retries": None if has_default_attempts else task.retry.attempts - 1,
        "retry_delay": None if has_default_delay else timedelta(seconds=task.retry.delay_s),
        "execution_timeout": None if task.timeout_s is None else timedelta(seconds=task.timeout_s),
        "priority_weight": task.priority,
        "pool": next((settings.pools[name] for name in task.providers if name in settings.pools), None),
        "queue": settings.gpu_queue if task.resources.gpu else None,
        "spares": task.spares and task.spares.task,
        "trigger_rule": None if may_be_spared.isdisjoint(task.needs) else THOUGH_SKIPPED,
        "poke_interval": task.wait and timedelta(seconds=task.wait.every_s),
        "timeout": task.wait and timedelta(seconds=task.wait.at_most_s),
    }
    return {name: value for name, value in options.items() if value is not None}
