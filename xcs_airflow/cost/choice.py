"""How the calls of a whole graph are made: the best way for each operation that the deadline of the run allows.

It knows estimates of the same graph with its calls made in different ways; `mechanisms.py` knows what one operation may and costs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from xcs_airflow.cost.batch_limits import BatchLimits
from xcs_airflow.cost.figures import OperationEstimate
from xcs_airflow.cost.mechanisms import Choice, Option, is_worth_waiting, preferred, score, why_no_batch, why_no_time
from xcs_airflow.cost.ways import Ways
from xcs_airflow.ir.graph import PipelinePolicy
from xcs_airflow.ir.llm_ops import LLMOperation, Mechanism
from xcs_airflow.ir.operation import Operation

NOT: Mapping[Mechanism, str] = {"concurrent": "not live", "packed": "not packed", "provider_batch": "no provider batch"}
"""How the reason against a way of making calls begins."""


@dataclass(frozen=True)
class Considered:
    """One operation, and every way in which its calls may be made.

    Attributes:
        operation: Whose calls.
        live: Made as requests of their own, many in flight.
        others: What else is legal.
        reasons: Why the rest is not.
        cluster: Operations of one cluster are decided together; none of them waits for another.
    """

    operation: LLMOperation
    live: Option
    others: tuple[Option, ...]
    reasons: tuple[str, ...]
    cluster: tuple[object, ...]


def option(mechanism: Mechanism, entry: OperationEstimate, worst_s: float | None = None) -> Option:
    """A way of making an operation's calls, with the figures of an estimate in which they are made so."""
    usd = entry.cost_usd.expected if entry.cost_usd.is_complete else None
    return Option(mechanism, usd, entry.duration_s.expected, entry.duration_s.expected if worst_s is None else worst_s)


def consider(
    operation: LLMOperation,
    live: OperationEstimate,
    ways: Mapping[Mechanism, OperationEstimate],
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
    plain = option("concurrent", live)
    others: list[Option] = []
    reasons: list[str] = []
    if "packed" in ways:
        others.append(option("packed", ways["packed"]))
    reason = why_no_batch(operation, live.calls, limits)
    if reason is None and limits is not None:
        batch = option("provider_batch", ways["provider_batch"], limits.window_s) if "provider_batch" in ways else None
        is_worth_it = batch is not None and is_worth_waiting(plain, batch)
        reason = why_no_time(limits, policy) if is_worth_it else "a batch would save too little to wait for"
        if reason is None and batch is not None:
            others.append(batch)
    if reason is not None:
        reasons.append(f"{NOT['provider_batch']}: {reason}")
    return Considered(operation, plain, tuple(others), tuple(reasons), cluster)


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
        if item.others:
            clusters.setdefault(item.cluster, []).append(item)
    for cluster in sorted(clusters.values(), key=lambda items: -sum(_saving(item, _best(item, policy)) for item in items)):
        _decide(cluster, {item.operation.id: _best(item, policy) for item in cluster}, ways, chosen, policy)
    if policy.budget_usd is not None:
        _keep_to_the_budget(considered, ways, chosen, policy, policy.budget_usd - decided_usd)
    return chosen


def _best(item: Considered, policy: PipelinePolicy) -> Option:
    return preferred((item.live, *item.others), policy)


def _saving(item: Considered, option: Option) -> Decimal:
    return (item.live.usd or Decimal(0)) - (option.usd or Decimal(0))


def _decide(
    cluster: Iterable[Considered], wanted: Mapping[str, Option], ways: Ways, chosen: dict[str, Choice], policy: PipelinePolicy
) -> None:
    """Take what is wanted where the deadline allows it, else the best of the rest."""
    taken: dict[float, list[str]] = {}
    for item in cluster:
        name, best, reasons = item.operation.id, wanted[item.operation.id], list(item.reasons)
        is_batch = best.mechanism == "provider_batch"
        if is_batch and policy.deadline_s is not None and not ways.fits(name, best.worst_s, policy.deadline_s):
            longest_s = ways.through([name], best.worst_s)
            reasons.append(
                f"{NOT['provider_batch']}: with the windows of the batches on its way the run may take {longest_s / 3600:.3g} h, "
                f"and the deadline is {policy.deadline_s / 3600:g} h"
            )
            rest = [other for other in item.others if other.mechanism != "provider_batch"]
            best = preferred((item.live, *rest), policy)
        reasons += [
            _why_not(other, best, policy) for other in (item.live, *item.others) if other.mechanism not in (best.mechanism, "concurrent")
        ]
        if best.mechanism != "concurrent":
            taken.setdefault(best.worst_s, []).append(name)
        chosen[name] = Choice(best, tuple(dict.fromkeys(filter(None, reasons))))
    for worst_s, names in taken.items():
        ways.settle(names, worst_s)


def _why_not(other: Option, best: Option, policy: PipelinePolicy) -> str:
    """Why an option that is legal is not the best; empty where the deadline has said so already."""
    if other.mechanism == "provider_batch" and score(other, policy) < score(best, policy):
        return ""
    more = "it would cost more" if (other.usd or 0) > (best.usd or 0) else "it would take longer"
    return f"{NOT[other.mechanism]}: {more}"


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
