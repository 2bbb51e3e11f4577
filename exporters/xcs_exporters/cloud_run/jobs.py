"""A task as a Cloud Run v2 Job: one container, started once per shard.

It knows the resource; whether the platform can take the task at all is `capabilities.refusals`' question.
"""

from __future__ import annotations

import math
from typing import Any

from xcs_airflow.canonical import digest
from xcs_airflow.exporting.image import RUNTIME_COMMAND
from xcs_airflow.exporting.plain_text import plain
from xcs_airflow.plan import CloudGraph, PlannedTask
from xcs_airflow.plan.legalise import NameRule, legal_names
from xcs_exporters.cloud_run.account import Account
from xcs_exporters.cloud_run.environment import variables
from xcs_exporters.cloud_run.limits import gpu_types, limit, smallest_size
from xcs_exporters.cloud_run.settings import CloudRunSettings

NAMES = NameRule(allowed="a-z0-9-", max_length=63, lower=True)
"""RFC 1035; https://cloud.google.com/run/docs/reference/rest/v2/projects.locations.jobs/create (`jobId`)."""

LABELS = NameRule(allowed="a-z0-9_-", max_length=63, lower=True)
"""https://cloud.google.com/resource-manager/docs/labels-overview#requirements."""

HASH = "xcs/spec-hash"
"""The annotation that tells whether a deployed job is the one in the file."""


def job_names(plan: CloudGraph) -> dict[str, str]:
    """Task id to job name. Jobs of all pipelines share a region, so the pipeline's name comes first."""
    full = {task.id: f"{plan.name}--{task.id}" for task in plan.tasks}
    legal = legal_names(full.values(), NAMES)
    return {task: legal[name] for task, name in full.items()}


def build_job(plan: CloudGraph, task: PlannedTask, settings: CloudRunSettings, account: Account) -> dict[str, Any]:
    """The body of a Job, without its name: https://cloud.google.com/run/docs/reference/rest/v2/projects.locations.jobs."""
    job: dict[str, Any] = {
        "labels": {"xcs-pipeline": LABELS.mangle(plan.name), "xcs-task": LABELS.mangle(task.id)},
        "annotations": {"xcs/pipeline": plain(plan.name), "xcs/task": task.id, "xcs/graph-digest": plan.graph_digest},
        "template": {
            "taskCount": task.shards,
            "template": {
                "containers": [_container(task, settings, account)],
                "executionEnvironment": "EXECUTION_ENVIRONMENT_GEN2",
                "maxRetries": 0 if task.is_a_question else attempts(task) - 1,
                "serviceAccount": account.service_account,
                "timeout": f"{timeout_s(task, settings)}s",
                **_accelerator(task),
            },
        },
    }
    job["annotations"][HASH] = f"sha256:{digest(job)}"
    return job


def attempts(task: PlannedTask) -> int:
    """How often one start is tried, within the platform's limit. By the end of what polls or probes the workflow goes."""
    return min(task.retry.attempts, limit("retries") + 1)


def timeout_s(task: PlannedTask, settings: CloudRunSettings) -> int:
    """Seconds after which one start is ended.

    Without a limit of its own a task gets that of the settings, or twice what the plan expects at worst if that is longer:
    the platform's own default of ten minutes would end long tasks that are well.
    """
    if task.timeout_s is not None:
        return task.timeout_s
    wanted = max(settings.timeout_s, math.ceil(2 * task.duration_s.high))
    return min(wanted, longest_timeout_s(task))


def longest_timeout_s(task: PlannedTask) -> int:
    """The longest the platform lets one start run, in seconds."""
    return limit("gpu_timeout_s" if task.resources.gpu else "timeout_s")


def _container(task: PlannedTask, settings: CloudRunSettings, account: Account) -> dict[str, Any]:
    """The command is complete but for the run, which whoever starts the job gives as its arguments."""
    plain = {"XCS_STORE": f"gs://{account.bucket}/{settings.prefix}", **settings.env, **task.env}
    return {
        "image": task.image or account.image,
        "command": [*RUNTIME_COMMAND, "--task", task.id],
        "env": variables(plain, task.secrets),
        "resources": {"limits": _size_limits(task)},
    }


def _size_limits(task: PlannedTask) -> dict[str, str]:
    size = smallest_size(task.resources)
    if size is None:
        raise AssertionError(f"no size holds {task.resources}: refusals() was not asked")
    limits = {"cpu": str(size.cpu), "memory": f"{size.memory_mib}Mi"}
    return {**limits, "nvidia.com/gpu": "1"} if task.resources.gpu else limits


def _accelerator(task: PlannedTask) -> dict[str, Any]:
    """Jobs have GPUs without zonal redundancy only: https://cloud.google.com/run/docs/configuring/jobs/gpu."""
    if not task.resources.gpu:
        return {}
    return {"nodeSelector": {"accelerator": task.resources.gpu_type or gpu_types()[0]}, "gpuZonalRedundancyDisabled": True}
