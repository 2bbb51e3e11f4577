"""A group of calls that goes through a provider's batch API: three tasks that hand over, wait, and take in.

It knows which calls such a group may hold and how its tasks hang together; it does not know requests, platforms or prices.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from xcs_airflow.cost.batch_limits import batch_limits
from xcs_airflow.cost.latency import goes_through_batch_api
from xcs_airflow.errors import Finding
from xcs_airflow.ir.graph import dependencies
from xcs_airflow.ir.llm_ops import LLMOperation
from xcs_airflow.ir.operation import Operation
from xcs_airflow.manifest import ProviderBatch, Task
from xcs_airflow.plan.task_ids import free_id


def is_for_a_batch(members: Sequence[Operation]) -> bool:
    """Whether the calls of a task are to be made through a provider's batch API."""
    return any(goes_through_batch_api(operation) for operation in members)


def why_not_in_a_batch(members: Sequence[Operation]) -> Iterator[Finding]:
    """Everything that keeps a group from the batch API it is meant for; nothing when it is not meant for one.

    Args:
        members: The operations of one task.
    """
    if is_for_a_batch(members):
        calls = [operation for operation in members if isinstance(operation, LLMOperation)]
        for operation in calls:
            for reason, instead in _problems(operation, calls):
                yield Finding.of("XCS516", reason=reason, instead=instead, operation=f"%{operation.id}", place=operation.source)


def _problems(operation: LLMOperation, calls: Sequence[LLMOperation]) -> Iterator[tuple[str, str]]:
    """What stands against one call of a group: the reason, and what to do instead."""
    apart = "give it a group of its own"
    provider, others = operation.metadata.provider_name, calls[0].metadata.provider_name
    if operation.batch is not None and operation.batch.mechanism != "provider_batch":
        yield f"it is to be made {operation.batch.mechanism}, others of its group are not", apart
    if operation.func is not None:
        yield f"{operation.func} asks the model itself", "write the call with llm(...)"
    for need in sorted({call.id for call in calls} & set(dependencies(operation))):
        yield f"it reads %{need}, whose answers come with the same batch", apart
    if provider not in batch_limits():
        yield f"no batch API of the provider {provider!r} is known", f"known: {', '.join(sorted(batch_limits()))}"
    elif provider != others:
        yield f"it asks {provider}, and %{calls[0].id} of the same group asks {others}", apart


def in_three_steps(task: Task, members: Sequence[Operation], taken: set[str]) -> list[Task]:
    """The tasks that submit, poll and collect, in this order; the last keeps id and steps.

    One start of the poll asks for all shards: a platform waits for one process, and sees its exit code.

    Args:
        task: The group as one task.
        members: Its operations, with nothing that `why_not_in_a_batch`.
        taken: All task ids so far; the new ones are added.
    """
    calls = [operation for operation in members if isinstance(operation, LLMOperation)]
    limits = batch_limits()[calls[0].metadata.provider_name]
    # Whoever wants to be asked is asked, though others of the group do not care.
    may_pay_twice = all(call.batch is not None and call.batch.on_orphan == "resubmit" for call in calls)
    submit, poll = (free_id(task.id, kind, taken) for kind in ("submit", "poll"))
    batch = ProviderBatch(
        max_requests=limits.max_requests,
        max_bytes=limits.max_bytes,
        window_s=limits.window_s,
        on_orphan="resubmit" if may_pay_twice else "fail",
    )
    return [
        Task(id=submit, kind="submit", part_of=task.id, shards=task.shards, needs=task.needs),
        Task(id=poll, kind="poll", part_of=task.id, needs=(submit,)),
        task.model_copy(update={"kind": "collect", "provider_batch": batch, "needs": (poll,)}),
    ]
