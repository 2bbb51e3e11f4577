"""The pass that decides how calls are made and which of them share a task, and spreads mapped calls over shards.

It knows which calls may share a task without changing an answer or closing a circle; `cost/choice.py` knows what each way of making
them is worth.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from math import ceil
from typing import NamedTuple

from xcs_airflow.cost.alternatives import Alternatives, Setting, alternatives, made_so
from xcs_airflow.cost.batch_limits import BatchLimits, batch_limits
from xcs_airflow.cost.latency import goes_through_batch_api, is_local
from xcs_airflow.cost.mechanisms import Choice
from xcs_airflow.cost.prefixes import best_marking, markable, marks
from xcs_airflow.cost.spreading import Load, Spread
from xcs_airflow.cost.tasks import TaskOrder
from xcs_airflow.ir.collection import collections
from xcs_airflow.ir.graph import Graph, dependencies
from xcs_airflow.ir.llm_ops import BatchPolicy, LLMOperation, Mechanism
from xcs_airflow.ir.operation import Operation
from xcs_airflow.passes.pipeline import Estimates, PassContext

_RULE = (
    "calls wait, they do not compute: 8 answers of 40 tokens took 2.50 s one by one and 0.39 s side by side "
    "(xpyd-sim 0.5.0, 100 ms and 5 ms per token)"
)
_RULES: dict[Mechanism, str] = {
    "concurrent": _RULE,
    "packed": (
        "the shared part of a prompt is sent once a pack, and answers are written one after the other: 8 answers of 40 tokens took "
        "1.71 s in one request and 0.39 s side by side (xpyd-sim 0.5.0); DocETL advises packs of 5 at most"
    ),
    "provider_batch": (
        "half the price for an answer within 24 hours (platform.openai.com/docs/guides/batch, "
        "docs.anthropic.com/en/docs/build-with-claude/batch-processing); the windows along a path add up"
    ),
}
_NOTICEABLE = 0.01
_LONGEST_LIST = 3

Group = tuple[LLMOperation, ...]
_Way = tuple[Graph, list[Group]]


class _Lot(NamedTuple):
    """What calls must have in common to share a task.

    Attributes:
        level: How many tasks come before, at most. Between equal levels there is no path, and as every edge leads to a higher
            level, grouping inside a level can never close a circle.
        provider: Who serves them: one rate limit, one set of connections.
        is_batch: Whether they go through its batch API.
        root: The list their items descend from; None when they are not mapped.
        shards: Into how many parts the items are spread.
        process: What the process they run in has and may do.
        when: Their condition.
        apart: What keeps some operations from others with the same rest.
    """

    level: int
    provider: str
    is_batch: bool
    root: str | None
    shards: int
    process: tuple[object, ...]
    when: str
    apart: tuple[str, ...]


class _Facts(NamedTuple):
    """What is known about a graph before it is grouped.

    Attributes:
        graph: Itself.
        estimates: What its run is expected to do.
        levels: For every operation, how many tasks the longest chain before its own has.
        roots: For every mapped operation, the list its items descend from.
        choices: For every call that is open, how it is made.
        shards: For every mapped call, into how many parts its items are to be spread.
        limited: The lists that have fewer shards than they would if providers allowed everything.
    """

    graph: Graph
    estimates: Estimates
    choices: dict[str, Choice]
    levels: dict[str, int]
    roots: dict[str, str]
    shards: dict[str, int]
    limited: set[str]

    def mechanism(self, operation: LLMOperation) -> Mechanism:
        """How its calls are made."""
        choice = self.choices.get(operation.id)
        return "concurrent" if choice is None else choice.option.mechanism

    def is_batch(self, operation: LLMOperation) -> bool:
        """Whether its calls go through the provider's batch API."""
        return self.mechanism(operation) == "provider_batch"


@dataclass(frozen=True)
class PromptBatchingPass:
    """Decides how calls are made; those that do not depend on each other are made by one task, and mapped ones are spread over shards.

    There are three ways. `concurrent`: every call is a request of its own, many in flight. `packed`: many items share a request, only
    where the author allows it. `provider_batch`: through the provider's batch API, where the deadline allows the windows of all
    batches along the longest way. The pipeline's objective, budget and deadline decide by expected cost and time; the plainest way
    wins a tie. What the author chose stays.

    Operations share a task when they ask the same provider from the same kind of process under the same condition, come after
    equally many tasks, and, if they are mapped, iterate items of the same list in as many shards. How many shards a list has is
    fixed here, from the expected calls and what providers allow, for all calls that iterate it, so that chains of them can depend
    shard by shard; shards given by hand for one operation hold for the whole list.

    Where the policy prefers latency, mapped operations that fill all places in flight by themselves get a task of their own.

    Attributes:
        max_in_flight: The most calls that may wait at a time in one shard. Assumption; LOTUS and Palimpzest use 64 threads.
        max_group: The most operations in one task: what fails is started again together. Assumption.
        max_shards: The most shards. Airflow maps a task at most 1,024 times by default (`core.max_map_length`); AWS Batch and
            Cloud Run start up to 10,000.
        shard_s: A shard should not take longer, in seconds, so that a restart loses little. Assumption.
        min_shard_calls: A shard should not have fewer calls, or starting it costs more than it saves. Assumption.
        headroom: Where a provider's limit is known, shards can have so many times the calls in flight that it keeps busy, as with
            `Schedule`, and no more of them are started. Assumption.
        limits: What providers' batch APIs take, by the provider's name; None takes the dated rows of cost/data/batch_limits.json.
    """

    max_in_flight: int = 32
    max_group: int = 32
    max_shards: int = 1000
    shard_s: float = 600
    min_shard_calls: int = 500
    headroom: float = 1.25
    limits: Mapping[str, BatchLimits] | None = None

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """The graph with shards on mapped calls and a batch policy on calls that share a task or make many calls."""
        decided = {decision.operation for decision in graph.decisions if decision.pass_name == type(self).__name__}
        open_calls = [op for op in graph if isinstance(op, LLMOperation) and op.id not in decided]
        if not open_calls:
            return graph
        facts, ways = context.shared.once(self, graph, lambda: self._ways(graph, open_calls, context))
        result, groups = _best(ways, context)
        if _hurts(graph, result, context):
            for operation in open_calls:
                reason = "by its own estimate the run would take longer and cost no less"
                context.decide(self, operation.id, reason, applied=False, rule="a pass that would hurt does nothing")
            return graph
        context.once(facts, result, lambda: self._explain(facts, open_calls, result, groups, context))
        return result

    def _facts(self, graph: Graph, choices: dict[str, Choice], levels: dict[str, int], context: PassContext) -> _Facts:
        roots = {name: found.root for name, found in collections(graph).items() if graph[name].is_mapped}
        estimates = context.estimate(graph)
        ways = {name: choice.option.mechanism for name, choice in choices.items()}
        spread = Spread(self.shard_s, self.min_shard_calls, self.max_shards, self.headroom)
        shards, limited = spread.shards(graph, self._loads(graph, estimates, ways), levels, roots, context.limits)
        return _Facts(graph, estimates, choices, levels, roots, shards, limited)

    def _alternatives(
        self, graph: Graph, open_calls: Sequence[LLMOperation], levels: Mapping[str, int], context: PassContext
    ) -> Alternatives:
        """Every way in which calls may be made about which nothing else decides."""
        limits = batch_limits() if self.limits is None else self.limits
        free = [operation for operation in open_calls if _why_not(operation) is None or operation.metadata.max_pack > 1]
        free = [operation for operation in free if operation.batch is None and operation.func is None and not is_local(operation)]
        # As many in flight as there may be: the plainest way is compared as it would be made. One call is made so anyway.
        many = [operation for operation in free if operation.is_mapped or context.profile is not None]
        clusters = {operation.id: (levels[operation.id], operation.metadata.provider_name) for operation in free}
        setting = Setting(context.estimate, context.price_book, limits, context.policy or graph.policy, self.max_in_flight)
        return alternatives(graph, free, many, clusters, setting)

    def _loads(self, graph: Graph, estimates: Estimates, ways: Mapping[str, Mechanism]) -> dict[str, Load]:
        """What every mapped call keeps busy that does not go through a provider's batch API."""
        loads: dict[str, Load] = {}
        for call in (operation for operation in graph if isinstance(operation, LLMOperation) and operation.is_mapped):
            if not goes_through_batch_api(call) and ways.get(call.id) != "provider_batch":
                entry, in_flight = estimates[call.id], self.max_in_flight if _why_alone(call) is None else 1
                tokens = entry.input_tokens.expected + entry.output_tokens.expected
                loads[call.id] = Load(entry.calls, tokens, entry.calls * entry.call_latency_s.expected / in_flight)
        return loads

    def _ways(self, graph: Graph, open_calls: Sequence[LLMOperation], context: PassContext) -> tuple[_Facts, list[_Way]]:
        """What is known, and the graph with the largest groups, and with those whose members need the same; the target plays no part."""
        levels = _levels(graph)
        found = self._alternatives(graph, open_calls, levels, context)
        while True:
            facts = self._facts(graph, found.chosen(), levels, context)
            ways = self._grouped(facts, open_calls, context)
            refused = _not_primed(facts, ways, context)
            if not refused:
                return facts, ways
            found = found.without_priming(refused)

    def _grouped(self, facts: _Facts, open_calls: Sequence[LLMOperation], context: PassContext) -> list[_Way]:
        prefers_latency = (context.policy or facts.graph.policy).optimize == "latency"
        largest = self._groups(facts, open_calls, prefers_latency=prefers_latency)
        same_needs = self._groups(facts, open_calls, prefers_latency=prefers_latency, same_needs=True)
        groupings = [largest] if same_needs == largest else [largest, same_needs]
        return [(self._rewritten(facts, groups), groups) for groups in groupings]

    def _groups(self, facts: _Facts, open_calls: Sequence[LLMOperation], *, prefers_latency: bool, same_needs: bool = False) -> list[Group]:
        lots: dict[_Lot, list[LLMOperation]] = {}
        for operation in open_calls:
            if _why_not(operation) is not None:
                continue
            apart = tuple(sorted(dependencies(operation))) if same_needs else ()
            is_full = not facts.is_batch(operation) and facts.estimates[operation.id].calls >= self.max_in_flight * facts.shards.get(
                operation.id, 1
            )
            if prefers_latency and operation.is_mapped and is_full:
                apart = (operation.id,)
            lots.setdefault(_lot(operation, facts, apart), []).append(operation)
        pieces = [tuple(lot[start : start + self.max_group]) for lot in lots.values() for start in range(0, len(lot), self.max_group)]
        return [group for group in pieces if len(group) > 1 or group[0].is_mapped or facts.is_batch(group[0])]

    def _rewritten(self, facts: _Facts, groups: Sequence[Group]) -> Graph:
        """The graph with groups and shards written down; the same object when there are none."""
        graph, shards = facts.graph, facts.shards
        taken = {operation.batch.group for operation in graph if isinstance(operation, LLMOperation) and operation.batch}
        policies: dict[str, BatchPolicy] = {}
        for group in groups:
            name = next(name for name in _names(group[0].id) if name not in taken)
            taken.add(name)
            calls = sum(facts.estimates[operation.id].calls for operation in group)
            in_flight = max(1, min(self.max_in_flight, ceil(calls / shards.get(group[0].id, 1))))
            policies.update({call.id: made_so(call, facts.mechanism(call), name, in_flight) for call in group})
        operations = [_with(operation, shards.get(operation.id, 1), policies.get(operation.id)) for operation in graph]
        is_same = all(new is old for new, old in zip(operations, graph, strict=True))
        return graph if is_same else graph.replace(operations=operations)

    def _explain(
        self, facts: _Facts, open_calls: Sequence[LLMOperation], result: Graph, groups: Sequence[Group], context: PassContext
    ) -> None:
        after = context.estimate(result)
        group_of = {operation.id: group for group in groups for operation in group}
        calls = {group[0].id: sum(after[member.id].calls for member in group) for group in groups}
        seconds = {group[0].id: sum(after[member.id].duration_s.expected for member in group) for group in groups}
        for old in open_calls:
            new, group = result[old.id], group_of.get(old.id)
            if group is not None:
                reason = _made(new, group, calls[group[0].id])
            else:
                reason = _why_not(old) or "no other call that may share its task waits at the same time"
            if (new.shards or 1) > 1:
                reason += f"; its items are spread over {new.shards} shards"
            if facts.roots.get(old.id) in facts.limited:
                reason += "; more shards would only wait for what providers allow"
            choice = facts.choices.get(old.id)
            reason = "; ".join([reason, *(choice.reasons if choice is not None else ())])
            takes_s = after[old.id].duration_s.expected if group is None else seconds[group[0].id]
            is_timed = new is not old and (old.is_mapped or facts.is_batch(old))
            saved = facts.estimates[old.id].duration_s.expected - takes_s if is_timed else None
            before_usd, after_usd = facts.estimates.cost_usd(old.id), after.cost_usd(old.id)
            saved_usd = None if before_usd is None or after_usd is None or before_usd == after_usd else before_usd - after_usd
            rule = _RULES[facts.mechanism(old)]
            context.decide(self, old.id, reason, applied=new is not old, rule=rule, saves_usd=saved_usd, saves_s=saved)


def _best(ways: Sequence[_Way], context: PassContext) -> _Way:
    """The largest groups, unless waiting for all that their members need makes the run longer."""
    first, *others = ways
    for other in others:
        if context.estimate(other[0]).expected_s < context.estimate(first[0]).expected_s * (1 - _NOTICEABLE):
            return other
    return first


def _not_primed(facts: _Facts, ways: Sequence[_Way], context: PassContext) -> dict[str, str]:
    """Why batches that were chosen for what they read after one of one request could not wait for it, with all that share their task."""
    chosen = [name for name, choice in facts.choices.items() if choice.option.is_primed_batch]
    if not chosen:
        return {}
    policy = context.policy or facts.graph.policy
    reasons: dict[str, str] = {}
    for graph, _ in ways:
        calls = markable(graph)
        found = best_marking(graph, calls, marks(graph, calls, context.estimate, context.price_book, policy), policy)
        reasons.update({name: found.reasons[name] for name in chosen if name not in found.policies})
    return reasons


def _hurts(before: Graph, after: Graph, context: PassContext) -> bool:
    """Whether a run would take longer and cost no less."""
    old, new = context.estimate(before), context.estimate(after)
    if new.calls_usd.expected < old.calls_usd.expected:
        return False
    return new.expected_s > old.expected_s * (1 + _NOTICEABLE)


def _why_not(operation: LLMOperation) -> str | None:
    """Why a call is not grouped; None when it may be."""
    if goes_through_batch_api(operation):
        return "its author sends it through the provider's batch API"
    if operation.batch is not None:
        return f"it belongs to the group {operation.batch.group} already"
    if not operation.metadata.batchable:
        return "its author declared batchable=False"
    return _why_alone(operation)


def _why_alone(operation: LLMOperation) -> str | None:
    """Why nothing is won by many of its calls in flight; None when something is."""
    if operation.func is not None:
        return f"{operation.func} asks the model itself, so the runtime cannot put its calls in flight"
    return "a local model computes where others wait, so calls in flight win nothing" if is_local(operation) else None


def _made(operation: Operation, group: Group, calls: int) -> str:
    """How the calls of a group are made, in words."""
    batch = operation.batch if isinstance(operation, LLMOperation) else None
    provider = group[0].metadata.provider_name
    reason = f"{calls:,} independent calls to {provider}, up to {batch.in_flight if batch else 1} in flight"
    if batch is not None and batch.mechanism == "packed":
        reason += f", each about up to {batch.pack_size} items"
    if batch is not None and batch.mechanism == "provider_batch":
        reason = f"{calls:,} requests through the batch API of {provider}, which the deadline allows"
    if len(group) == 1:
        return reason
    others = [f"%{member.id}" for member in group[: _LONGEST_LIST + 1] if member.id != operation.id][:_LONGEST_LIST]
    more = len(group) - 1 - _LONGEST_LIST
    shown = ", ".join(others) + (f" and {more} more" if more > 0 else "")
    return f"{reason}, in one task with {shown}"


def _lot(operation: LLMOperation, facts: _Facts, apart: tuple[str, ...]) -> _Lot:
    variables = (tuple(sorted(operation.env.items())), tuple(sorted(operation.secrets.items())))
    return _Lot(
        level=facts.levels[operation.id],
        provider=operation.metadata.provider_name,
        is_batch=facts.is_batch(operation),
        root=facts.roots.get(operation.id),
        shards=facts.shards.get(operation.id, 1),
        process=(operation.image, *variables, operation.resources, operation.retry, operation.timeout_s),
        when="" if operation.when is None else operation.when.model_dump_json(),
        apart=apart,
    )


def _levels(graph: Graph) -> dict[str, int]:
    order = TaskOrder(graph.operations)
    level = order.levels()
    return {name: level[task] for name, task in order.task_of.items()}


def _names(first: str) -> Iterator[str]:
    """Names for a group: its first operation's id, or that with a number when it is taken."""
    yield first
    yield from (f"{first}.{number}" for number in count(2))


def _with(operation: Operation, shards: int, batch: BatchPolicy | None) -> Operation:
    changes: Mapping[str, object] = {
        **({"shards": shards} if shards > 1 and operation.shards is None else {}),
        **({"batch": batch} if batch is not None else {}),
    }
    return operation.model_copy(update=changes) if changes else operation
