"""The schedule of a pipeline as input of EventBridge Scheduler's CreateSchedule.

It knows https://docs.aws.amazon.com/scheduler/latest/APIReference/API_CreateSchedule.html; it does not know the state machine
beyond its variable.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from xcs_airflow.errors import Finding
from xcs_airflow.ir.cron import CronError
from xcs_airflow.plan.cloud_graph import CloudGraph
from xcs_airflow.plan.legalise import NameRule
from xcs_exporters.aws_batch.cron import scheduler_expression

SCHEDULE_NAMES = NameRule("A-Za-z0-9_.-", 64)


def schedule(plan: CloudGraph) -> dict[str, Any] | None:
    """The request that creates the schedule; None when the pipeline runs on demand only.

    A start that Scheduler cannot deliver is tried again for an hour: later, the next one is nearer than the missed one.

    Raises:
        CronError: The schedule cannot be expressed.
    """
    policy = plan.policy
    if policy.schedule is None:
        return None
    return {
        "Name": SCHEDULE_NAMES.mangle(plan.name),
        "ScheduleExpression": scheduler_expression(policy.schedule),
        "ScheduleExpressionTimezone": policy.timezone,
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "State": "ENABLED",
        "Target": {
            "Arn": "${StateMachine}",
            "RoleArn": "${SchedulerRole.Arn}",
            "Input": "{}",
            "RetryPolicy": {"MaximumEventAgeInSeconds": 3600, "MaximumRetryAttempts": 10},
        },
    }


def schedule_findings(plan: CloudGraph, target: str) -> Iterator[Finding]:
    """Why the schedule cannot be expressed, if it cannot."""
    try:
        schedule(plan)
    except CronError as error:
        written, reason = plan.policy.schedule, str(error)
        yield Finding.of("XCS507", place=plan.source, schedule=written, target=target, reason=reason, instead=error.instead)
