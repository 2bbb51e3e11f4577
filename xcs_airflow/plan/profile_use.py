"""What a plan says about the profile it was made with, and what is written down of a plan to measure it by later.

It knows plans and profiles; it does not know how either is made.
"""

from __future__ import annotations

from collections.abc import Sequence

from xcs_airflow.cost.accuracy import accuracy
from xcs_airflow.cost.figures import Figure, MeasuredOperation
from xcs_airflow.cost.profile import Expectation, PipelineProfile
from xcs_airflow.plan.cloud_graph import CloudGraph, PlannedOperation, ProfileUse


def profile_use(profile: PipelineProfile, measured: Sequence[MeasuredOperation]) -> ProfileUse | None:
    """What a plan says about its profile; None when no run is in it.

    Args:
        profile: What the plan was made with.
        measured: What it relied on.
    """
    if profile.last is None:
        return None
    return ProfileUse(
        digest=profile.digest,
        runs=len(profile.runs),
        since=profile.runs[0].ended,
        until=profile.last.ended,
        operations=tuple(measured),
        accuracy=accuracy(profile.last),
    )


def expectations(plan: CloudGraph) -> dict[str, Expectation]:
    """What a plan expects of each of its operations in the next run."""
    live = {} if plan.profile is None else {known.operation: known.live_calls for known in plan.profile.operations}
    return {operation.id: _expectation(operation, live.get(operation.id)) for operation in plan.operations}


def expected_total(plan: CloudGraph) -> Expectation:
    """What a plan expects of the next run as a whole."""
    totals = plan.totals
    return Expectation(
        calls=Figure.total(each.calls for each in expectations(plan).values()),
        input_tokens=totals.input_tokens,
        output_tokens=totals.output_tokens,
        cost_usd=totals.cost_usd,
        seconds=totals.duration_s,
    )


def _expectation(operation: PlannedOperation, live_calls: Figure | None) -> Expectation:
    entry = operation.estimate
    return Expectation(
        calls=live_calls or Figure.exactly(entry.calls),
        input_tokens=entry.input_tokens,
        output_tokens=entry.output_tokens,
        cost_usd=entry.cost_usd,
        # What a function is measured by is all that it did, whatever was done side by side.
        seconds=entry.call_latency_s.times(entry.items or 1)
        if operation.kind == "python" and operation.is_mapped
        else entry.call_latency_s,
    )
