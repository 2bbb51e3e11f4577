"""The pass that decides what work runs on: calls that wait on the smallest size, local models where money or time says.

It knows what work needs and what the target offers; it does not know how the target is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from xcs_airflow.cost.compute import Platform, platform_of, task_cost_usd
from xcs_airflow.cost.latency import goes_through_batch_api, is_local
from xcs_airflow.cost.local_models import memory_mib, times_as_fast, weights_mib
from xcs_airflow.ir.graph import Graph, PipelinePolicy
from xcs_airflow.ir.grouping import task_key
from xcs_airflow.ir.llm_ops import LLMOperation
from xcs_airflow.ir.operation import Operation, Resources
from xcs_airflow.passes.pipeline import EVERY_OPERATION, Estimates, PassContext

_CALLS = "calls wait, they do not compute: measured, a quarter of a processor makes 300 of them a second"
_MODELS = "a local model is as fast as its memory, so figures of cost/data/local_models.json and the prices of the target decide"
_GIB_MIB = 1024
_HOUR_S = 3600
_ROOM = 2
_DECIMALS = 6


class Place(NamedTuple):
    """One kind of hardware for an operation.

    Attributes:
        resources: What a start gets.
        usd: What all its starts cost together; None when nobody knows.
        seconds: From its start to its end.
    """

    resources: Resources
    usd: Decimal | None
    seconds: float

    def __str__(self) -> str:
        usd = "an unknown price" if self.usd is None else f"{self.usd:.4f} USD"
        return f"{shown(self.resources)} ({usd}, {self.seconds:,.0f} s)"


@dataclass(frozen=True)
class PlaceOnHardware:
    """Calls to providers get the smallest size of the target; a local model the size or GPU that the policy prefers.

    What its author gave other resources than the default stays as it is, and so do plain functions and functions that ask a model
    themselves, because nobody knows what they compute. A GPU is taken only where it is cheaper, or for latency quicker, with its
    start and the seconds that are billed at least, where the target lets it run twice as long as expected, and only for operations
    with an image of their own, as that of a bundle computes on processors. What has no known price is never chosen.
    """

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """The graph with resources on model calls that had the default."""
        asking = [operation for operation in graph if isinstance(operation, LLMOperation)]
        platform = platform_of(context.target)
        if platform is None:
            if asking:
                what = "a target" if context.target is None else f"figures of {context.target}"
                context.decide(self, EVERY_OPERATION, f"which sizes there are is not known without {what}", applied=False, rule=_CALLS)
            return graph
        policy = context.policy or graph.policy
        decided = {decision.operation for decision in graph.decisions if decision.pass_name == type(self).__name__}
        mixed, worked_s = _mixed(graph), _worked_s(asking, context.estimate(graph))
        told: set[tuple[str, str]] = set()
        calls: dict[tuple[tuple[str, str], int | None], tuple[Place, Place, str]] = {}
        placed: dict[str, Operation] = {}
        for operation in (each for each in asking if each.id not in decided):
            rule, reason = _MODELS if is_local(operation) else _CALLS, _why_not(operation, platform, mixed)
            if reason is not None:
                context.decide(self, operation.id, reason, applied=False, rule=rule)
                continue
            task = task_key(operation)
            if is_local(operation):
                now = _place(operation, operation.resources, worked_s.get(task, 0.0), platform)
                best, reason = _for_model(operation, now, worked_s[task], platform, policy)
            else:
                key = (task, operation.shards)  # all calls of a task had the default and get the same
                if key not in calls:
                    calls[key] = _for_calls(operation, worked_s.get(task, 0.0), platform)
                now, best, reason = calls[key]
            is_new = best.resources != operation.resources
            # The first operation of a task speaks for all of them, so that sums over decisions are right.
            saved = _saved(now, best) if is_new and task in worked_s and task not in told else None
            told.add(task)
            context.decide(self, operation.id, reason, applied=is_new, rule=rule, saves_usd=saved)
            if is_new:
                placed[operation.id] = operation.model_copy(update={"resources": best.resources})
        return graph.replace(operations=[placed.get(operation.id, operation) for operation in graph]) if placed else graph


def shown(resources: Resources) -> str:
    """Resources in words, as in `0.25 vCPU and 512 MiB`."""
    gpu = f"{resources.gpu_type} beside " if resources.gpu else ""
    return f"{gpu}{resources.cpu:g} vCPU and {resources.memory_mib} MiB"


def _mixed(graph: Graph) -> set[tuple[str, str]]:
    """The tasks in which a local model shares its process with anything else."""
    kinds: dict[tuple[str, str], set[str]] = {}
    for operation in graph:
        local = isinstance(operation, LLMOperation) and is_local(operation)
        kinds.setdefault(task_key(operation), set()).add(operation.metadata.model if local else "")  # type: ignore[attr-defined]
    return {task for task, models in kinds.items() if len(models) > 1}


def _saved(before: Place, after: Place) -> Decimal | None:
    return None if before.usd is None or after.usd is None else round(before.usd - after.usd, _DECIMALS)


def _worked_s(asking: Sequence[LLMOperation], estimates: Estimates) -> dict[tuple[str, str], float]:
    """How long each task works at its model calls; what is waited for between tasks is no work."""
    worked: dict[tuple[str, str], float] = {}
    for operation in asking:
        if not goes_through_batch_api(operation):
            worked[task_key(operation)] = worked.get(task_key(operation), 0.0) + estimates[operation.id].duration_s.expected
    return worked


def _why_not(operation: LLMOperation, platform: Platform, mixed: set[tuple[str, str]]) -> str | None:
    """Why an operation stays where it is; None when it may be placed."""
    if operation.resources != Resources():
        return f"its author asks for {shown(operation.resources)}"
    if operation.func is not None:
        return f"nobody knows what {operation.func} computes besides asking the model"
    if task_key(operation) in mixed:
        return "its task does other work, too"
    return None if platform.sizes else f"a task of {platform.name} has what its worker gives it"


def _place(operation: LLMOperation, resources: Resources, seconds: float, platform: Platform) -> Place:
    cost = task_cost_usd(platform, resources, seconds)
    shards = operation.shards or 1
    return Place(resources, cost.expected * shards if cost.is_complete else None, platform.start_of(resources).expected + seconds)


def _for_calls(operation: LLMOperation, seconds: float, platform: Platform) -> tuple[Place, Place, str]:
    """Where calls are now, the smallest size, which is enough for calls that wait, and why."""
    now = _place(operation, operation.resources, seconds, platform)
    reason = f"its calls wait and do not compute: {shown(platform.smallest)} is the smallest size, and no GPU helps"
    return now, _place(operation, platform.smallest, seconds, platform), reason


def _for_model(operation: LLMOperation, now: Place, seconds: float, platform: Platform, policy: PipelinePolicy) -> tuple[Place, str]:
    """Where a local model runs best, and why not on the best of the other kind."""
    model = operation.metadata.model_name
    work = seconds * times_as_fast(model, operation.resources)
    options = [_place(operation, each, work / times_as_fast(model, each), platform) for each in _candidates(operation, platform)]
    if not options:
        return now, f"no size of {platform.name} has the {memory_mib(model)} MiB that {model} is expected to need"
    places = [place for place in options if place.usd is not None and _ends_in_time(place, platform)]
    if not places:
        return now, f"nothing with a known price holds {model} and ends in time on {platform.name}; give resources to choose"
    best = min(places, key=lambda place: _worth(place, policy))
    others = [place for place in places if bool(place.resources.gpu) != bool(best.resources.gpu)]
    if others:
        other = min(others, key=lambda place: _worth(place, policy))
        kind = "on a GPU" if other.resources.gpu else "on processors"
        beside = f"; {kind} the best is {other}"
    else:
        reason = f"no GPU of {platform.name} holds it and ends in time" if operation.image is not None else "a GPU needs an image for it"
        beside = "" if best.resources.gpu else f"; {reason}"
    return best, f"best for {policy.optimize} with start and minimum: {best}{beside}"


def _candidates(operation: LLMOperation, platform: Platform) -> Iterator[Resources]:
    """Every kind of hardware that holds a model and that its image can use; processors that the runtime does not use only cost."""
    model = operation.metadata.model_name
    for size in platform.sizes:
        memory = size.memory_for(memory_mib(model))
        if memory is not None:
            yield Resources(cpu=size.cpu, memory_mib=memory)
    for gpu in platform.gpus if operation.image is not None else ():
        if gpu.memory_gib * _GIB_MIB >= weights_mib(model):
            yield Resources(cpu=gpu.cpu, memory_mib=gpu.memory_mib, gpu=1, gpu_type=gpu.name)


def _ends_in_time(place: Place, platform: Platform) -> bool:
    """Whether the target lets a start run twice as long as it is expected to."""
    longest = platform.longest_s(place.resources)
    return longest is None or _ROOM * place.seconds <= longest


def _worth(place: Place, policy: PipelinePolicy) -> tuple[Decimal, Decimal]:
    """What a place with a known price is worth in a policy's terms, the less the better."""
    usd, hours = place.usd or Decimal(0), Decimal(repr(place.seconds)) / _HOUR_S
    if policy.optimize == "latency":
        return hours, usd
    return (usd + hours * policy.hour_usd, usd) if policy.optimize == "balanced" else (usd, hours)
