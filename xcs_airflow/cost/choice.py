"""How the calls of a whole graph are made: the best way for each operation that the deadline of the run allows.

It knows estimates of the same graph with its calls made in different ways; `mechanisms.py` knows what one operation may and costs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import NamedTuple

from xcs_airflow.cost.batch_limits import BatchLimits
from xcs_airflow.cost.figures import OperationEstimate
from xcs_airflow.cost.mechanisms import Choice, Option, is_worth_waiting, preferred, why_no_batch, why_no_time
from xcs_airflow.cost.prefixes import Marks
from xcs_airflow.cost.ways import Ways
from xcs_airflow.ir.graph import PipelinePolicy
from xcs_airflow.ir.llm_ops import LLMOperation, Mechanism, PrefixPolicy
from xcs_airflow.ir.operation import Operation

NOT: Mapping[Mechanism, str] = {"concurrent": "not live", "packed": "not packed", "provider_batch": "no provider batch"}
"""How the reason against a way of making calls begins."""
_COST: Mapping[Mechanism, str] = {"concurrent": "live calls cost", "packed": "packed calls cost", "provider_batch": "a batch costs"}
_OTHER: Mapping[Mechanism, str] = {"concurrent": "live calls", "packed": "packed calls", "provider_batch": "a batch"}


class Made(NamedTuple):
    """The calls of an operation, made in one way.

    Attributes:
        plain: What they cost and take as they are.
        marked: The same, as they are best marked for the provider's prompt cache; as they are, where no mark pays.
        prefix: How they are marked then; None when they are not.
    """

    plain: OperationEstimate
    marked: OperationEstimate
    prefix: PrefixPolicy | None

    @classmethod
    def of(cls, marks: Marks, name: str) -> Made:
        """Those of an operation, by its id, as they are and as they are best marked."""
        return cls(marks.plain[name], marks[name], marks.policy(name))


@dataclass(frozen=True)
class Considered:
    """One operation, and every way in which its calls may be made.

    Attributes:
        operation: Whose calls.
        live: Made as requests of their own, many in flight.
        others: What else is legal.
        reasons: Why the rest is not.
        cluster: Operations of one cluster are decided together; none of them waits for another.
        dearer: A batch that costs less than live calls would without a prompt cache, but not less than they do with it; nobody takes it.
    """

    operation: LLMOperation
    live: Option
    others: tuple[Option, ...]
    reasons: tuple[str, ...]
    cluster: tuple[object, ...]
    dearer: Option | None = None

    def without_priming(self, reason: str) -> Considered:
        """The same, if its batch cannot wait for one of one request before it, for a reason."""
        others = tuple(other for other in self.others if not other.is_primed_batch)
        if len(others) == len(self.others):
            return self
        if any(other.mechanism == "provider_batch" and is_worth_waiting(self.live, other) for other in others):
            return replace(self, others=others)
        return replace(self, others=others, reasons=(*self.reasons, f"{NOT['provider_batch']}: {reason}"))


def option(mechanism: Mechanism, entry: OperationEstimate, worst_s: float | None = None, prefix: PrefixPolicy | None = None) -> Option:
    """A way of making an operation's calls, with the figures of an estimate in which they are made and marked so."""
    usd = entry.cost_usd.expected if entry.cost_usd.is_complete else None
    seconds = entry.duration_s.expected
    return Option(mechanism, usd, seconds, seconds if worst_s is None else worst_s, prefix, entry.shared_tokens.expected)


def consider(
    operation: LLMOperation,
    live: Made,
    ways: Mapping[Mechanism, Made],
    limits: BatchLimits | None,
    policy: PipelinePolicy,
    cluster: tuple[object, ...],
) -> Considered:
    """What is legal for one operation.

    Args:
        operation: Whose calls.
        live: What they cost and take as requests of their own.
        ways: What they cost and take in other ways; through the batch API only where that may be worth waiting for.
        limits: What the provider's batch API takes.
        policy: The pipeline's.
        cluster: With whom it is decided.
    """
    plainest = option("concurrent", live.marked, prefix=live.prefix)
    others = [option("packed", ways["packed"].marked, prefix=ways["packed"].prefix)] if "packed" in ways else []
    reason, dearer = why_no_batch(operation, live.plain.calls, limits), None
    if reason is None and limits is not None:
        batches = _batches(operation, ways["provider_batch"], limits) if "provider_batch" in ways else []
        dearer = next((batch for batch in batches[:1] if _is_dearer(batch, plainest, option("concurrent", live.plain))), None)
        worth = [batch for batch in batches if is_worth_waiting(plainest, batch)]
        late = [why_no_time(limits, policy, round(batch.worst_s / limits.window_s)) for batch in worth]
        others += [batch for batch, why in zip(worth, late, strict=True) if why is None]
        if None not in late:
            reason = late[0] if late else None if dearer is not None else "a batch would save too little to wait for"
    reasons = () if reason is None else (f"{NOT['provider_batch']}: {reason}",)
    return Considered(operation, plainest, tuple(others), reasons, cluster, dearer)


def _batches(operation: LLMOperation, made: Made, limits: BatchLimits) -> list[Option]:
    """A batch as it is, and one that another one of one request goes before, where that pays; such a one may take two windows."""
    windows = 2 if operation.prefix is not None and operation.prefix.prime else 1
    plain = option("provider_batch", made.plain, limits.window_s * windows)
    return [plain] if made.prefix is None else [plain, option("provider_batch", made.marked, limits.window_s * 2, made.prefix)]


def _is_dearer(batch: Option, live: Option, unmarked: Option) -> bool:
    """Whether a batch would be worth waiting for, if live calls read nothing, and is dearer than they are because they do."""
    return live.usd is not None and batch.usd is not None and batch.usd >= live.usd and is_worth_waiting(unmarked, batch)


def choose(
    considered: Sequence[Considered],
    ordered: Sequence[Operation],
    seconds: Mapping[str, float],
    policy: PipelinePolicy,
    decided_usd: Decimal = Decimal(0),
) -> dict[str, Choice]:
    """The way for every operation, by its id.

    Those that save most are decided first. A batch is taken only if the windows of all batches along the longest way through it,
    with what else has to be done on that way, fit the deadline. If the run would cost more than its budget, what the policy
    preferred gives way to what is cheaper, beginning with what saves most for a second more.

    Args:
        considered: What may be decided.
        ordered: Every operation of the graph, each after all it reads.
        seconds: How long each is expected to take as it is.
        policy: Objective, budget and deadline.
        decided_usd: What all other calls of a run cost.
    """
    ways = Ways(ordered, seconds)
    chosen = {item.operation.id: Choice(item.live, item.reasons) for item in considered}
    clusters: dict[tuple[object, ...], list[Considered]] = {}
    for item in considered:
        if item.others or item.dearer is not None:
            clusters.setdefault(item.cluster, []).append(item)
    for cluster in sorted(clusters.values(), key=lambda items: -sum(_saving(item, _best(item, policy)) for item in items)):
        chosen.update(_decided(cluster, ways, policy))
    if policy.budget_usd is not None:
        _keep_to_the_budget(considered, ways, chosen, policy, policy.budget_usd - decided_usd)
    return chosen


def _best(item: Considered, policy: PipelinePolicy) -> Option:
    return preferred((item.live, *item.others), policy)


def _saving(item: Considered, option: Option) -> Decimal:
    return (item.live.usd or Decimal(0)) - (option.usd or Decimal(0))


def _decided(cluster: Sequence[Considered], ways: Ways, policy: PipelinePolicy) -> dict[str, Choice]:
    """What is wanted where the deadline allows it, else the best of the rest, for operations that are decided together.

    They may share a task, and then all its batches wait for both windows of one that another one of one request goes before.
    """
    found = {item.operation.id: _allowed(item, ways, policy) for item in cluster}
    if any(choice.option.is_primed_batch for choice in found.values()) and policy.deadline_s is not None:
        names, longest_s = _batches_of(found)
        if not all(ways.fits(name, longest_s, policy.deadline_s) for name in names):
            reason = (
                f"{_too_long(ways.through(names, longest_s), policy.deadline_s)}, if all that may share its task waits for both of its own"
            )
            found = {item.operation.id: _allowed(item.without_priming(reason), ways, policy) for item in cluster}
    names, longest_s = _batches_of(found)
    ways.settle(names, longest_s)
    for name, choice in found.items():
        if choice.option.mechanism == "packed":
            ways.settle([name], choice.option.worst_s)
    return found


def _batches_of(found: Mapping[str, Choice]) -> tuple[list[str], float]:
    """Which operations go through a batch API, and how long they may take if they share a task."""
    batches = {name: choice.option.worst_s for name, choice in found.items() if choice.option.mechanism == "provider_batch"}
    return list(batches), max(batches.values(), default=0.0)


def _allowed(item: Considered, ways: Ways, policy: PipelinePolicy) -> Choice:
    """The best way for which the deadline has room, and why no other one."""
    name, left, reasons = item.operation.id, [item.live, *item.others], list(item.reasons)
    best, longest_s = preferred(left, policy), None
    while _is_too_late(name, best, ways, policy):
        longest_s = ways.through([name], best.worst_s)
        left.remove(best)
        best = preferred(left, policy)
    if longest_s is not None and policy.deadline_s is not None and best.mechanism != "provider_batch":
        reasons.append(f"{NOT['provider_batch']}: {_too_long(longest_s, policy.deadline_s)}")
    if item.dearer is not None:
        left.append(item.dearer)
    reasons += [_why_not(other, best) for other in left if other.mechanism not in (best.mechanism, "concurrent")]
    return Choice(best, tuple(dict.fromkeys(reasons)))


def _too_long(longest_s: float, deadline_s: float) -> str:
    return (
        f"with the windows of the batches on its way the run may take {longest_s / 3600:.3g} h, and the deadline is {deadline_s / 3600:g} h"
    )


def _is_too_late(name: str, option: Option, ways: Ways, policy: PipelinePolicy) -> bool:
    """Whether it is a batch for whose windows the deadline has no room."""
    if option.mechanism != "provider_batch" or policy.deadline_s is None:
        return False
    return not ways.fits(name, option.worst_s, policy.deadline_s)


def _why_not(other: Option, best: Option) -> str:
    """Why an option that is legal is not the best."""
    if (other.usd or 0) <= (best.usd or 0):
        return f"{NOT[other.mechanism]}: it would take longer"
    if best.prefix is None:
        return f"{NOT[other.mechanism]}: it would cost more"
    return (
        f"{NOT[other.mechanism]}: with its shared {best.shared_tokens:,.0f} tokens read from the provider's prompt cache "
        f"{_COST[best.mechanism]} {best.usd:,.4f} USD, {_OTHER[other.mechanism]} {other.usd:,.4f} USD"
    )


def _keep_to_the_budget(
    considered: Sequence[Considered], ways: Ways, chosen: dict[str, Choice], policy: PipelinePolicy, left_usd: Decimal
) -> None:
    total = sum((choice.option.usd or Decimal(0) for choice in chosen.values()), Decimal(0))
    cheaper = [
        (saved / Decimal(max(other.seconds - chosen[item.operation.id].option.seconds, 1e-3)), saved, item, other)
        for item in considered
        for other in item.others
        if other.usd is not None and (saved := (chosen[item.operation.id].option.usd or Decimal(0)) - other.usd) > 0
    ]
    for _, saved, item, other in sorted(cheaper, key=lambda entry: (-entry[0], entry[2].operation.id)):
        if total <= left_usd:
            return
        name, known = item.operation.id, chosen[item.operation.id]
        if known.option != item.live:
            continue
        if policy.deadline_s is not None and not ways.fits(name, other.worst_s, policy.deadline_s):
            continue
        others = [reason for reason in known.reasons if not reason.startswith(f"{NOT[other.mechanism]}:")]
        reason = f"as requests of their own the calls would not keep to the budget of {policy.budget_usd:f} USD"
        chosen[name] = Choice(other, (*others, reason))
        ways.settle([name], other.worst_s)
        total -= saved
