"""Whether a provider's batch may wait for a batch of one request before it: for the prompt cache, for the objective, for the deadline.

It knows lifetimes and windows; what reading saves is `prompt_cache.py`, and who asks is a pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from xcs_airflow.cost.batch_limits import BatchLimits
from xcs_airflow.cost.latency import goes_through_batch_api
from xcs_airflow.cost.mechanisms import Option, score
from xcs_airflow.cost.prompt_cache import PromptCache
from xcs_airflow.cost.ways import Ways
from xcs_airflow.ir.graph import Graph, PipelinePolicy
from xcs_airflow.ir.grouping import tasks
from xcs_airflow.ir.llm_ops import LLMOperation
from xcs_airflow.ir.operation import Operation

POLL_PAUSE_S = 900
"""So long after a batch has ended the next poll finds that, at most: the longest pause that targets make when they can."""

_SECONDS_PER_HOUR = 3600
_BEFORE = "marking pays only after a batch of one request, which"


def why_forgotten(row: PromptCache, batch_s: float) -> str | None:
    """Why a batch would not find what another one wrote before it; None when it is expected to.

    The first batch has ended, a poll finds that, and the requests of the second begin, in the middle, when half of its time is over.
    With 5 minutes none would find anything, with an hour they do: 900 s, and half of the hour that a batch is expected to take.

    Args:
        row: The prompt cache.
        batch_s: How long a batch takes, as expected.
    """
    if not row.batch_hit_share:
        return "nobody has measured that a batch finds there what an earlier one wrote"
    if POLL_PAUSE_S + batch_s / 2 <= row.longest_ttl_s:
        return None
    return (
        f"what a batch of one request wrote is forgotten {_hours(row.longest_ttl_s)} later, and a batch that takes {_hours(batch_s)} "
        "would come too late"
    )


@dataclass(frozen=True)
class Primed:
    """A batch that another one of one request could go before.

    Attributes:
        operation: Whose calls.
        plain: What they cost and take without it.
        primed: What they cost and take with it.
    """

    operation: LLMOperation
    plain: Option
    primed: Option


def why_not_primed(
    graph: Graph,
    considered: Iterable[Primed],
    seconds: Mapping[str, float],
    limits: Mapping[str, BatchLimits],
    policy: PipelinePolicy,
) -> dict[str, str]:
    """Why batches are not to wait for one of one request before them, by operation; who is not there may wait.

    The windows of all batches along the longest way count, that of a primed one twice, and those that save most are decided first.
    All operations of its task wait with it.

    Args:
        graph: With all batches decided.
        considered: What may be primed.
        seconds: For every operation, how long its task is expected to take.
        limits: What providers' batch APIs take.
        policy: Objective and deadline.
    """
    together = {operation.id: [member.id for member in members] for members in tasks(graph) for operation in members}
    of_batch_s = {operation.id: windows_s(operation, limits) for operation in graph}
    worst_s = {name: max(of_batch_s[member] for member in members) or seconds[name] for name, members in together.items()}
    ways = Ways(graph.in_order(), worst_s)
    reasons: dict[str, str] = {}
    for item in sorted(considered, key=lambda item: ((item.primed.usd or 0) - (item.plain.usd or 0), item.operation.id)):
        name, members = item.operation.id, together[item.operation.id]
        window_s = limits[item.operation.metadata.provider_name].window_s
        longest_s = ways.through(members, 2 * window_s)
        if score(item.primed, policy) >= score(item.plain, policy):
            reasons[name] = f"{_BEFORE} takes another window, and that is not worth it with {policy.optimize} preferred"
        elif policy.deadline_s is None:
            reasons[name] = f"{_BEFORE} takes another window of {_hours(window_s)}, and only a deadline allows one"
        elif longest_s > policy.deadline_s:
            reasons[name] = (
                f"{_BEFORE} takes another window, with which the run may take {_hours(longest_s)}, "
                f"and the deadline is {_hours(policy.deadline_s)}"
            )
        else:
            ways.settle(members, 2 * window_s)
    return reasons


def windows_s(operation: Operation, limits: Mapping[str, BatchLimits]) -> float:
    """How long the batches of an operation may take; 0 when it has none."""
    if not isinstance(operation, LLMOperation) or not goes_through_batch_api(operation):
        return 0
    window = limits.get(operation.metadata.provider_name)
    is_primed = operation.prefix is not None and operation.prefix.prime
    return 0 if window is None else window.window_s * (2 if is_primed else 1)


def _hours(seconds: float) -> str:
    return f"{seconds / _SECONDS_PER_HOUR:.3g} h"
