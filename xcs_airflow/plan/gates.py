"""Whether a plan keeps to its budget and deadline.

It knows limits and how they read; it does not know who set them or what happens when they are missed.
"""

from __future__ import annotations

from decimal import Decimal

from xcs_airflow.errors import Finding
from xcs_airflow.plan.cloud_graph import CloudGraph
from xcs_airflow.plan.text import seconds, usd


def gate(plan: CloudGraph, budget_usd: Decimal | None = None) -> list[Finding]:
    """What a plan's expected cost and duration break.

    Over budget as expected is an error, over budget only at worst a warning, and so is a model without a price, because then
    nobody can tell.

    Args:
        plan: What to look at.
        budget_usd: The most a run may cost; by default what the pipeline's author allows.
    """
    budget = plan.policy.budget_usd if budget_usd is None else budget_usd
    deadline, duration, cost = plan.policy.deadline_s, plan.totals.duration_s.expected, plan.totals.cost_usd
    findings = []
    if budget is not None and cost.expected > budget:
        findings.append(Finding.of("XCS401", expected=usd(cost.expected), budget=usd(budget), place=plan.source))
    elif budget is not None and cost.high > budget:
        findings.append(Finding.of("XCS405", high=usd(cost.high), budget=usd(budget), place=plan.source, severity="warning"))
    if deadline is not None and duration > deadline:
        findings.append(Finding.of("XCS404", expected=seconds(duration), deadline=seconds(deadline), place=plan.source))
    findings += [Finding.of("XCS402", model=model, place=plan.source, severity="warning") for model in cost.unknown]
    return findings
