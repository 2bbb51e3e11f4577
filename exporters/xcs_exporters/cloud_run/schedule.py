"""The schedule of a pipeline as a Cloud Scheduler job that starts the workflow.

It knows the resource (https://cloud.google.com/scheduler/docs/reference/rest/v1/projects.locations.jobs); cron and time zones are
native there, so both are taken as they are.
"""

from __future__ import annotations

import base64
from typing import Any

from xcs_airflow.canonical import canonical_json
from xcs_airflow.exporting.plain_text import plain
from xcs_airflow.plan import CloudGraph
from xcs_exporters.cloud_run.account import Account
from xcs_exporters.cloud_run.limits import limit


def build_schedule(plan: CloudGraph, name: str, account: Account) -> dict[str, Any] | None:
    """The body of a scheduler job; None when the pipeline runs on demand only.

    Args:
        plan: Whose schedule.
        name: Of the workflow and of the job.
        account: Where they live.
    """
    if plan.policy.schedule is None:
        return None
    place = f"projects/{account.project}/locations/{account.region}"
    document = {
        "name": f"{place}/jobs/{name}",
        "schedule": plan.policy.schedule,
        "timeZone": plan.policy.timezone,
        "httpTarget": {
            "uri": f"https://workflowexecutions.googleapis.com/v1/{place}/workflows/{name}/executions",
            "httpMethod": "POST",
            "headers": {"Content-Type": "application/json"},
            "body": base64.b64encode(canonical_json({}).encode()).decode(),
            "oauthToken": {
                "serviceAccountEmail": account.service_account,
                "scope": "https://www.googleapis.com/auth/cloud-platform",
            },
        },
    }
    if plan.policy.description:
        document["description"] = plain(plan.policy.description)[: limit("schedule_description")]
    return document
