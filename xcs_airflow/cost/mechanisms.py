"""Which way of making calls is legal, what each costs and takes, and which one a policy prefers.

It knows single operations; it does not know groups, shards or how a graph is rewritten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from xcs_airflow.cost.batch_limits import BatchLimits
from xcs_airflow.cost.latency import is_local
from xcs_airflow.ir.graph import PipelinePolicy
from xcs_airflow.ir.llm_ops import LLMOperation, Mechanism, PrefixPolicy

_SECONDS_PER_HOUR = 3600
_LEAST_SAVING_USD = Decimal("0.01")
"""For less than this nobody waits for a batch; it pays neither the two further tasks nor the look at them. Assumption."""


@dataclass(frozen=True)
class Option:
    """One way of making the calls of an operation.

    Attributes:
        mechanism: The way.
        usd: What all calls cost together, as expected; None when nobody knows.
        seconds: How long they take together, as expected.
        worst_s: How long they may take, for the deadline.
        prefix: How what they share is marked then for the provider's prompt cache; None when it is not.
        shared_tokens: With how many tokens all of them begin.
    """

    mechanism: Mechanism
    usd: Decimal | None
    seconds: float
    worst_s: float
    prefix: PrefixPolicy | None = None
    shared_tokens: float = 0

    @property
    def is_primed_batch(self) -> bool:
        """Whether a batch of one request goes before it."""
        return self.mechanism == "provider_batch" and self.prefix is not None and self.prefix.prime


@dataclass(frozen=True)
class Choice:
    """What was chosen for an operation.

    Attributes:
        option: The way its calls are made.
        reasons: For each other way that was considered, why not; for a chosen one other than `concurrent`, why.
    """

    option: Option
    reasons: tuple[str, ...] = ()


def why_no_batch(operation: LLMOperation, calls: int, limits: BatchLimits | None) -> str | None:
    """Why calls cannot go through the provider's batch API; None when they can.

    Args:
        operation: Whose calls.
        calls: How many requests it makes.
        limits: What the provider takes; None when it has no batch API that the runtime speaks.
    """
    provider = operation.metadata.provider_name
    fewest = 1 if limits is None else limits.min_requests
    rules = (
        (operation.func is not None, f"{operation.func} asks the model itself"),
        (limits is None, f"no batch API of {provider} is known"),
        (not operation.metadata.batchable, "its author declared batchable=False"),
        (operation.metadata.max_tokens == 0, "a batch takes no request without an answer"),
        (calls < fewest, f"{provider} takes no batch of fewer than {fewest:,} requests, and {calls:,} are expected"),
    )
    return next((said for is_so, said in rules if is_so), None)


def why_no_time(limits: BatchLimits, policy: PipelinePolicy, windows: int = 1) -> str | None:
    """Why nobody may wait for a batch; None when the run has time for one.

    Args:
        limits: What the provider takes.
        policy: The pipeline's.
        windows: How many of its windows it may take: 2 where another one of one request goes before it.
    """
    longest_s, batch = limits.window_s * windows, "a batch" if windows == 1 else "a batch after one of one request"
    if policy.deadline_s is None:
        return f"only a deadline of {_hours(longest_s)} or more allows {'one' if windows == 1 else batch}"
    if policy.deadline_s < longest_s:
        return f"{batch} may take {_hours(longest_s)}, and the deadline is {_hours(policy.deadline_s)}"
    return None


def why_not_packed(operation: LLMOperation) -> str | None:
    """Why items of an operation cannot share requests; None when they can."""
    rules = (
        (operation.metadata.max_pack == 1, ""),  # nobody asked for it, so there is nothing to say
        (not operation.is_mapped, "it asks about one thing only"),
        (operation.metadata.quality_sensitive, "its author declared quality_sensitive=True"),
        (not operation.metadata.batchable, "its author declared batchable=False"),
        (operation.prompt is None, "a function writes its prompt, so what its items share is not known"),
        (is_local(operation), "a local model computes each answer, in however many requests"),
    )
    return next((said for is_so, said in rules if is_so), None)


def preferred(options: Sequence[Option], policy: PipelinePolicy) -> Option:
    """The best of some options for what the author wants; the first of equals. A price nobody knows is never better.

    Args:
        options: What is legal, the plainest first.
        policy: What to prefer where money and time disagree.
    """
    plainest = options[0]
    if plainest.usd is None:
        return plainest
    known = [option for option in options if option.usd is not None]
    return min(known, key=lambda option: (score(option, policy), options.index(option)))


def score(option: Option, policy: PipelinePolicy) -> tuple[Decimal, Decimal]:
    """What an option is worth in a policy's terms, the less the better: first by what it prefers, then by the other.

    Args:
        option: Its cost is known.
        policy: `optimize` prefers money, time, or their sum with an hour's worth in US dollars.
    """
    usd = option.usd or Decimal(0)
    hours = Decimal(option.seconds) / _SECONDS_PER_HOUR
    if policy.optimize == "latency":
        return hours, usd
    if policy.optimize == "balanced":
        return usd + hours * policy.hour_usd, usd
    return usd, hours


def is_worth_waiting(live: Option, batch: Option) -> bool:
    """Whether a batch saves enough money to be looked at."""
    return live.usd is not None and batch.usd is not None and live.usd - batch.usd >= _LEAST_SAVING_USD


def may_be_worth_waiting(live_usd: Decimal | None) -> bool:
    """Whether a batch could save enough, if it cost nothing.

    Args:
        live_usd: What the calls cost as requests of their own; None when nobody knows.
    """
    return live_usd is not None and live_usd >= _LEAST_SAVING_USD


def _hours(seconds: float) -> str:
    return f"{seconds / _SECONDS_PER_HOUR:g} h"
