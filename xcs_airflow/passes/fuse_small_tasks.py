"""The pass that starts small tasks together: a start takes time and is billed for a minute, however little is done in it.

It knows which operations may share a process without changing an answer; what pays is `cost/fusion.py`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain, count

from xcs_airflow.cost.compute import platform_of
from xcs_airflow.cost.figures import Figure
from xcs_airflow.cost.fusion import Bill, Fusion, Piece, Unit, largest
from xcs_airflow.cost.latency import goes_through_batch_api, is_local
from xcs_airflow.cost.tasks import TaskOrder
from xcs_airflow.ir.collection import collections
from xcs_airflow.ir.graph import Graph, dependencies
from xcs_airflow.ir.llm_ops import LLMOperation
from xcs_airflow.ir.operation import Operation, Resources
from xcs_airflow.passes.pipeline import EVERY_OPERATION, Estimates, PassContext
from xcs_airflow.values import Ref, references

_RULE = (
    "both clouds bill a minute for every start, and a start on Fargate takes about one: "
    "https://docs.aws.amazon.com/batch/latest/userguide/best-practices.html advises to group tasks into jobs of 3 to 5 minutes"
)
_LONGEST_LIST = 3
_DECIMALS = 6

Members = tuple[Operation, ...]


@dataclass(frozen=True)
class FuseSmallTasks:
    """Tasks become one task with several steps where the starts and billed minimums they save outweigh what runs side by side.

    Fused are a task and the only one that waits for it, and tasks that wait for the same. They must have the same image, retries
    and condition, no variable with two values, time limits in all or none, and as many shards; shards depend item by item. Never
    fused are calls that go through a provider's batch API, which is waited for between tasks, a model that runs in the task's own
    process with anything but itself, and GPUs with anything else. Each step keeps its result when a later one fails.

    Without a target nothing is fused, as nobody knows what a start takes; nor where it would save too little of the run's time and
    of its cost, as tasks of their own are easier to read.

    Attributes:
        min_share: The least part of the run's expected time, or of its cost, that is worth it.
        min_saved_s: Fewer seconds are not worth it, whatever part of the run they are. Assumption.
        max_tasks: The most tasks in one start: what fails is started again together. Assumption.
    """

    min_share: float = 0.05
    min_saved_s: float = 10
    max_tasks: int = 32

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """The graph with the name of the task they share on operations that are started together."""
        platform = platform_of(context.target)
        if platform is None:
            self._say_unknown(graph, context)
            return graph
        decided = {decision.operation for decision in graph.decisions if decision.pass_name == type(self).__name__}
        tasks = _tasks(graph)
        if len(tasks) < 2 or all(operation.id in decided for operation in graph):  # noqa: PLR2004  # one has nobody to join
            return graph
        estimates = context.estimate(graph)
        may_wait = (context.policy or graph.policy).optimize != "latency"
        fusion = Fusion(platform, _pieces(graph, tasks, estimates, decided), may_wait, self.max_tasks)
        units, before = fusion.units(), fusion.bill(fusion.apart())
        together = [unit for unit in units if len(unit.members) > 1]
        is_worth_it = bool(together) and self._is_worth_it(before, fusion.bill(units), estimates.calls_usd.expected)
        result = _rewritten(graph, tasks, together) if is_worth_it else graph
        for unit in units:
            members = [operation for place in sorted(unit.members) for operation in tasks[place] if operation.id not in decided]
            if len(unit.members) > 1 and is_worth_it:
                self._explain(members, unit, fusion, context)
            else:
                reason = f"it would save less than {self.min_share:.0%} of the run's time and cost" if len(unit.members) > 1 else ""
                for operation in members:
                    why = reason or _why_not(operation) or unit.refused or "no other task that may share its process is next to it"
                    context.decide(self, operation.id, why, applied=False, rule=_RULE)
        return result

    def _say_unknown(self, graph: Graph, context: PassContext) -> None:
        if len(graph) > 1:
            what = "a target" if context.target is None else f"figures of {context.target}"
            reason = f"nothing is fused: how long a start takes is not known without {what}"
            context.decide(self, EVERY_OPERATION, reason, applied=False, rule=_RULE)

    def _is_worth_it(self, before: Bill, after: Bill, calls_usd: Decimal) -> bool:
        if before.seconds - after.seconds >= max(self.min_share * before.seconds, self.min_saved_s):
            return True
        if before.usd is None or after.usd is None:
            return False
        return before.usd - after.usd >= self.min_share * (before.usd + float(calls_usd))

    def _explain(self, members: Sequence[Operation], unit: Unit, fusion: Fusion, context: PassContext) -> None:
        platform = fusion.platform
        start, least = platform.start_of(unit.resources).expected, platform.min_billed_s
        billed = f", and {least:g} s are billed at least" if least else ""
        for index, operation in enumerate(members):
            others = [f"%{other.id}" for other in members if other is not operation]
            shown = ", ".join(others[:_LONGEST_LIST])
            shown += f" and {len(others) - _LONGEST_LIST} more" if len(others) > _LONGEST_LIST else ""
            reason = f"one start with {shown}: on {platform.name} a start takes {start:g} s{billed}"
            # The first speaks for all of them, so that sums over decisions are right.
            usd = fusion.usd_saved(unit) if index == 0 else None
            seconds = unit.gained_s if index == 0 and unit.gained_s > 0 else None
            saved_usd = None if usd is None else Decimal(f"{usd:.{_DECIMALS}f}")
            context.decide(self, operation.id, reason, applied=True, rule=_RULE, saves_usd=saved_usd, saves_s=seconds)


def _why_not(operation: Operation) -> str:
    """Why an operation shares its start with nobody; empty when it may."""
    if operation.fused is not None:
        return f"it shares the task {operation.fused} already"
    if goes_through_batch_api(operation):
        return "its calls go through the provider's batch API, which is waited for between tasks"
    return ""


def _tasks(graph: Graph) -> list[Members]:
    """The operations of every task: those that come after fewer tasks first, and else in the order of the graph."""
    order = TaskOrder(graph.operations)
    level = order.levels()
    members: dict[int, list[Operation]] = {}
    for operation in graph:
        members.setdefault(order.task_of[operation.id], []).append(operation)
    return [tuple(members[task]) for task in sorted(members, key=lambda task: level[task])]


def _pieces(graph: Graph, tasks: Sequence[Members], estimates: Estimates, decided: set[str]) -> list[Piece]:
    found = collections(graph)
    roots = {operation.id: found[operation.id].root if operation.is_mapped else None for operation in graph}
    task_of = {operation.id: place for place, members in enumerate(tasks) for operation in members}
    pieces: list[Piece] = []
    for place, members in enumerate(tasks):
        needs = {task_of[need] for operation in members for need in dependencies(operation)} - {place}
        shards = max(operation.shards or 1 for operation in members)
        resources = members[0].resources
        for operation in members[1:]:
            resources = largest(resources, operation.resources)
        pieces.append(
            Piece(
                needs=tuple(sorted(needs)),
                chains=frozenset(needs if shards == 1 else needs - {task_of[name] for op in members for name in _read_whole(op)}),
                kind=None if any(op.id in decided for op in members) else _kind(members, shards, roots, resources),
                seconds=Figure.total(estimates[operation.id].duration_s for operation in members),
                shards=shards,
                resources=resources,
                variables=_variables(members),
                level=max((pieces[need].level + 1 for need in needs), default=0),
            )
        )
    return pieces


def _read_whole(operation: Operation) -> set[str]:
    """The operations of which it reads more than the items of its own shard."""
    by_item = {
        value.operation
        for name, value in operation.inputs.items()
        if name in operation.map_over and isinstance(value, Ref) and not value.path
    }
    rest = [value for name, value in operation.inputs.items() if name not in operation.map_over]
    rest += [operation.when] if operation.when is not None else []
    return (set(dependencies(operation)) - by_item) | {ref.operation for value in rest for ref in references(value)}


def _variables(members: Members) -> dict[str, str]:
    """What stands in the environment of their process: plain values, and names of secrets."""
    plain = {name: f"plain {value}" for operation in members for name, value in operation.env.items()}
    return plain | {name: f"secret {reference}" for operation in members for name, reference in operation.secrets.items()}


def _kind(members: Members, shards: int, roots: Mapping[str, str | None], resources: Resources) -> object:
    """What tasks must have in common to share a process; None when a task shares it with nobody."""
    if any(_why_not(operation) for operation in members):
        return None
    models = sorted({op.metadata.model for op in members if isinstance(op, LLMOperation) and is_local(op)})
    if resources.gpu and not all(isinstance(op, LLMOperation) and is_local(op) for op in members):
        return None
    conditions = {None if op.when is None else op.when.model_dump_json() for op in members}
    root = {roots[op.id] for op in members} if shards > 1 else set()
    if len(conditions) > 1 or len(root) > 1 or (shards > 1 and None in root):
        return None
    first = members[0]
    limits = {operation.timeout_s is None for operation in members}
    return (
        *(first.image, first.retry.model_dump_json(), conditions.pop(), tuple(models)),
        *(resources.gpu, resources.gpu_type, shards, next(iter(root), None), tuple(sorted(limits))),
    )


def _rewritten(graph: Graph, tasks: Sequence[Members], units: Sequence[Unit]) -> Graph:
    taken = {operation.fused for operation in graph}
    name_of: dict[str, str] = {}
    for unit in units:
        first = tasks[min(unit.members)][0].id
        name = next(name for name in chain([first], (f"{first}.{number}" for number in count(2))) if name not in taken)
        taken.add(name)
        name_of |= {operation.id: name for place in unit.members for operation in tasks[place]}
    return graph.replace(operations=[op.model_copy(update={"fused": name_of[op.id]}) if op.id in name_of else op for op in graph])
