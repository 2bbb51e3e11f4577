"""What Airflow can do for a plan, and every reason why it cannot run one.

It knows features and limits; it does not know files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from xcs_airflow.errors import Finding
from xcs_airflow.exporting.port import Capabilities
from xcs_airflow.plan import CloudGraph, PlannedTask
from xcs_airflow.plan.legalise import refusal, unsupported
from xcs_exporters.airflow.settings import NAME, AirflowSettings

CAPABILITIES = Capabilities(
    supported={
        "schedule": "the DAG's timetable; runs that were missed are not made up for",
        "timezone": "the timetable knows time zones by their IANA names",
        "parameters": "params of the DAG, with a form in Airflow's interface and a check before the run",
        "edges": "the dependencies of the DAG's tasks",
        "shards": "one mapped task, its map index is the shard",
        "retries": "Airflow's own retries, and nobody else's",
        "retry_by_exit_code": "a final failure raises AirflowFailException, after which Airflow does not retry",
        "retry_delay": "the retry delay of the task",
        "timeout": "the execution timeout of the task",
        "gpu": "tasks that need one go to the queue that the setting gpu_queue names",
        "secrets": "variables of the worker's environment; whoever runs the workers sets them",
        "environment": "set in the process of the task, which Airflow starts for each task anew",
        "conditions": "the runtime decides; a skipped task starts and ends at once",
        "priority": "the priority weight of the task, as an absolute number",
        "rate_limit_pools": "the pool that the setting pools names for the task's provider",
        "provider_batch": "a sensor that Airflow reschedules: it takes a worker for as long as one question takes",
        "probe": "a task that branches: Airflow skips the task that it spares, and what waits for that runs all the same",
    },
    unsupported={
        "cpu_and_memory": "a task has what its worker gives it; the setting queue chooses the workers",
        "image_per_task": "a task runs in the worker's own environment",
    },
    advisory=frozenset({"cpu_and_memory"}),
)

LONGEST_S = 365 * 24 * 3600
"""A year: longer waits are a mistake, and durations of any size would not fit into Airflow's."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_NOT_IN_A_VARIABLE = re.compile("[\0\ud800-\udfff]")


def refusals(plan: CloudGraph, settings: AirflowSettings) -> list[Finding]:
    """Every reason why a plan cannot run as it is; the warnings among them say what is left out.

    Args:
        plan: What is to run.
        settings: What the user set for this target.
    """
    findings = unsupported(plan, NAME, CAPABILITIES.unsupported, advisory=CAPABILITIES.advisory)
    if (plan.policy.deadline_s or 0) > LONGEST_S:
        findings.append(refusal(plan, NAME, None, f"a deadline of {plan.policy.deadline_s:g} s", "the limit is a year"))
    for task in plan.tasks:
        findings += [refusal(plan, NAME, task, feature, reason, instead=instead) for feature, reason, instead in _problems(task, settings)]
    return findings


def _problems(task: PlannedTask, settings: AirflowSettings) -> Iterator[tuple[str, str, str]]:
    """What stands against one task: the feature, why not, and what to write instead."""
    if task.resources.gpu and settings.gpu_queue is None:
        yield "gpu", "no queue of workers with a GPU is known", f"set gpu_queue under [tool.xcs.targets.{NAME}]"
    for noun, seconds in (("timeout", task.timeout_s), ("retry delay", task.retry.delay_s)):
        if (seconds or 0) > LONGEST_S:
            yield f"a {noun} of {seconds} s", "the limit is a year", ""
    for name, value in task.env.items():
        if not _VARIABLE.fullmatch(name):
            yield f"the variable {name!r}", "a name has letters, digits and _ only", ""
        elif _NOT_IN_A_VARIABLE.search(value):
            yield f"the variable {name!r}", "a value cannot hold NUL or half a surrogate pair", ""
