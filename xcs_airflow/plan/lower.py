"""From an optimised graph to tasks: which operations share a start, in what order, and what the runtime is told.

It knows grouping, fingerprints and the manifest; it does not know prices or platforms, nor what a provider's batch API asks for.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence

from xcs_airflow.canonical import canonical_json
from xcs_airflow.cost.probes import is_probed
from xcs_airflow.errors import Finding, PlanError
from xcs_airflow.ir.graph import Graph, dependencies, toposort
from xcs_airflow.ir.grouping import task_key, uneven
from xcs_airflow.ir.identity import request_fields, what_it_computes
from xcs_airflow.ir.llm_ops import LLMOperation
from xcs_airflow.ir.operation import Operation
from xcs_airflow.manifest import PACKER_VERSION, CacheRule, Manifest, ModelCall, PrefixRule, Step, Task
from xcs_airflow.plan.probes import with_probe
from xcs_airflow.plan.provider_batches import in_three_steps, is_for_a_batch, why_not_in_a_batch
from xcs_airflow.values import Ref

_LONGEST_TASK_ID = 60


def lower(graph: Graph) -> Manifest:
    """The tasks of a graph: one for every fused task, one for every other batch group, one for every other operation.

    A group that goes through a provider's batch API has three: they submit, poll and collect. A task that is probed before it is started
    has two.

    Raises:
        GraphError: Groups wait for each other in a circle.
        PlanError: The mapped operations of a task have different shards (XCS218), or cannot go through their provider's batch API;
            carries every reason.
    """
    ordered = graph.in_order()
    prints = fingerprints(ordered)
    groups = _grouped(ordered)
    task_of = {operation.id: name for name, members in groups.items() for operation in members}
    findings = [finding for members in groups.values() for finding in (*_why_not_together(members), *why_not_in_a_batch(members))]
    if findings:
        raise PlanError(findings)
    taken = set(groups)
    tasks: list[Task] = []
    for name, members in groups.items():
        task = _task(name, members, task_of, prints)
        if is_for_a_batch(members):
            tasks += in_three_steps(task, members, taken)
        else:
            tasks += with_probe(task, taken) if is_probed(members) else [task]
    return Manifest(
        pipeline=graph.name,
        graph_digest=graph.digest(),
        parameters=graph.parameters,
        tasks=_in_order(tasks),
        output=graph.result(),
        budget_usd=graph.policy.budget_usd,
    )


def fingerprints(ordered: Sequence[Operation]) -> dict[str, str]:
    """What each result depends on, as a digest: its own definition and the fingerprints of all it reads.

    Args:
        ordered: Operations, each after all it reads.
    """
    prints: dict[str, str] = {}
    for operation in ordered:
        how: dict[str, object] = {"reads": [prints[need] for need in dependencies(operation)], "shards": operation.shards or 1}
        if isinstance(operation, LLMOperation) and operation.cache is not None:
            how["cache"] = operation.cache.model_dump(mode="json")
        if isinstance(operation, LLMOperation) and operation.items_per_request > 1:
            # A packed answer may be another one; how many items were packed together says no more than that.
            how["packer"] = PACKER_VERSION
        text = f"[{what_it_computes(operation)},{canonical_json(how)}]"
        prints[operation.id] = hashlib.sha256(text.encode()).hexdigest()
    return prints


def _grouped(ordered: Sequence[Operation]) -> dict[str, list[Operation]]:
    """Task id to its operations; the id of a task with several tells its members."""
    members: dict[tuple[str, str], list[Operation]] = {}
    for operation in ordered:
        members.setdefault(task_key(operation), []).append(operation)
    taken: set[str] = {group[0].id for group in members.values() if len(group) == 1}
    return {_task_id([op.id for op in group], taken): group for group in members.values()}


def _why_not_together(members: Sequence[Operation]) -> Iterator[Finding]:
    finding = uneven([operation for operation in members if operation.is_mapped], is_final=True)
    if finding is not None:
        yield finding


def _task_id(ids: Sequence[str], taken: set[str]) -> str:
    if len(ids) == 1:
        return ids[0]
    name = "_".join(re.sub(r"[^A-Za-z0-9_]", "_", member) for member in ids)
    if len(name) > _LONGEST_TASK_ID or name in taken:
        suffix = hashlib.sha256("\0".join(ids).encode()).hexdigest()[:8]
        name = f"{name[: _LONGEST_TASK_ID - 9]}_{suffix}"
    taken.add(name)
    return name


def _task(name: str, members: Sequence[Operation], task_of: Mapping[str, str], prints: Mapping[str, str]) -> Task:
    needs = dict.fromkeys(task_of[need] for operation in members for need in dependencies(operation))
    batches = [op.batch.in_flight for op in members if isinstance(op, LLMOperation) and op.batch]
    return Task(
        id=name,
        steps=tuple(_step(operation, prints[operation.id]) for operation in members),
        shards=max(operation.shards or 1 for operation in members),
        in_flight=max(batches, default=1),
        needs=tuple(need for need in needs if need != name),
    )


def _step(operation: Operation, fingerprint: str) -> Step:
    is_model_call = isinstance(operation, LLMOperation) and operation.func is None
    cache = operation.cache if isinstance(operation, LLMOperation) else None
    return Step(
        id=operation.id,
        func=operation.func,
        call=_call(operation) if isinstance(operation, LLMOperation) and is_model_call else None,
        inputs=operation.inputs,
        map_over=operation.map_over,
        collect=operation.collect,
        cache=CacheRule(ttl_s=cache.ttl_s, epoch=cache.epoch) if cache else None,
        when=operation.when,
        fingerprint=fingerprint,
    )


def _call(operation: LLMOperation) -> ModelCall:
    prefix = None if operation.prefix is None else PrefixRule(**operation.prefix.model_dump())
    return ModelCall(
        prompt=operation.prompt,
        prompt_func=operation.prompt_func,
        output_schema=operation.output_schema,
        pack=operation.items_per_request,
        prefix=prefix,
        **request_fields(operation),
    )


def _in_order(tasks: Sequence[Task]) -> tuple[Task, ...]:
    """Tasks sorted by `needs`, through the same ordering as operations."""
    stand_ins = [
        Operation(id=task.id, func="a:b", inputs={str(i): Ref(operation=need) for i, need in enumerate(task.needs)}) for task in tasks
    ]
    by_id = {task.id: task for task in tasks}
    return tuple(by_id[stand_in.id] for stand_in in toposort(stand_ins))
