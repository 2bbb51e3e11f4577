"""Ids of tasks that stand beside the task of an operation or a group.

It knows which ids are free; it does not know what the tasks do.
"""

from __future__ import annotations

from itertools import chain, count

_LONGEST_ID = 250
_ROOM = len(".submit.999")


def free_id(task: str, kind: str, taken: set[str]) -> str:
    """`task.kind`, or that with a number when another task is called so.

    Args:
        task: The task it stands beside.
        kind: What it does.
        taken: All task ids so far; the new one is added.
    """
    stem = f"{task[: _LONGEST_ID - _ROOM]}.{kind}"
    name = next(name for name in chain([stem], (f"{stem}.{number}" for number in count(2))) if name not in taken)
    taken.add(name)
    return name
