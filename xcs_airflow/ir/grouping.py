"""Which operations share a task, and whether they can: they are started together, once for every shard.

It knows groups and shards; it does not know in what order tasks run, or what one costs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from xcs_airflow.errors import Finding
from xcs_airflow.ir.llm_ops import LLMOperation
from xcs_airflow.ir.operation import Operation


def task_key(operation: Operation) -> tuple[str, str]:
    """Operations with the same key share a task. What goes through a provider's batch API is never fused: it waits between its tasks."""
    batch = operation.batch if isinstance(operation, LLMOperation) else None
    if operation.fused is not None and (batch is None or batch.mechanism != "provider_batch"):
        return ("fused", operation.fused)
    return ("alone", operation.id) if batch is None else ("group", batch.group)


def may_share(operation: Operation) -> bool:
    """Whether others may share its task."""
    return operation.fused is not None or (isinstance(operation, LLMOperation) and operation.batch is not None)


def tasks(operations: Iterable[Operation]) -> list[list[Operation]]:
    """Operations by the task they share, in order."""
    members: dict[tuple[str, str], list[Operation]] = {}
    for operation in operations:
        members.setdefault(task_key(operation), []).append(operation)
    return list(members.values())


def uneven(members: Sequence[Operation], *, is_final: bool) -> Finding | None:
    """Why operations cannot share a task: it has as many starts as shards, and each of them would need another number.

    Args:
        members: The operations.
        is_final: Whether shards that nobody has given are one; otherwise a pass may give them yet to what is mapped.
    """
    shards = {op.id: op.shards or (1 if is_final or not op.is_mapped else None) for op in members}
    if len({count for count in shards.values() if count is not None}) < 2:  # noqa: PLR2004  # they are all alike
        return None
    listed = [(operation, shards[operation.id]) for operation in members]
    said = ", ".join(f"%{op.id} {count or 'any number'}{f' ({op.source})' if op.source else ''}" for op, count in listed)
    kind, name = task_key(members[0])
    kind = "task" if kind == "fused" else kind
    return Finding.of("XCS218", kind=kind, name=name, shards=said, operation=f"%{members[0].id}", place=members[0].source)
