"""A task that is probed: one task before it sees whether all its answers are known, and only if they are not it is started.

It knows how the two hang together; whether that pays was decided by a pass.
"""

from __future__ import annotations

from xcs_airflow.manifest import Task
from xcs_airflow.plan.task_ids import free_id


def with_probe(task: Task, taken: set[str]) -> list[Task]:
    """The probe of a task, and the task, which waits for it and for nothing else.

    One start of the probe looks after all shards: a platform that decides on an exit code sees that of one process, and not those of
    an array's children; and the shortest start is billed as much as reading the answers of many shards takes.

    Args:
        task: What is probed.
        taken: All task ids so far; the new one is added.
    """
    probe = Task(id=free_id(task.id, "probe", taken), kind="probe", part_of=task.id, needs=task.needs)
    return [probe, task.model_copy(update={"needs": (probe.id,)})]
