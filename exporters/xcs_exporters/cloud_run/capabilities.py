"""What Cloud Run can do for a plan, and every reason why it cannot run one.

It knows features and limits; it does not know files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from xcs_airflow.errors import Finding
from xcs_airflow.exporting.port import Capabilities
from xcs_airflow.plan import CloudGraph, PlannedTask
from xcs_airflow.plan.legalise import refusal, unsupported
from xcs_exporters.cloud_run.environment import name_problem, problem_of, secret_reference
from xcs_exporters.cloud_run.jobs import attempts, longest_timeout_s
from xcs_exporters.cloud_run.limits import gpu_types, largest_size, limit, smallest_size
from xcs_exporters.cloud_run.settings import IMAGE, NAME
from xcs_exporters.cloud_run.workflow import waits_of

CAPABILITIES = Capabilities(
    supported={
        "schedule": "Cloud Scheduler starts the workflow",
        "timezone": "Cloud Scheduler knows time zones by their IANA names",
        "parameters": "the argument of the workflow's execution, handed to every task as one JSON document",
        "edges": "the workflow runs the tasks level by level; each level waits for all of the one before",
        "shards": "every shard is one task of the job's execution",
        "retries": "the job's own retries, and nobody else's: neither workflow nor schedule starts a task again",
        "timeout": "the job's own limit for every start",
        "cpu_and_memory": "rounded up to the next size a job can have, at least 1 CPU and 512 MiB",
        "gpu": "one nvidia-l4 per task, with at least 4 CPU and 16 GiB",
        "secrets": "references to Secret Manager; the platform fills the variables",
        "environment": "variables of the job's container",
        "image_per_task": "every job has an image of its own",
        "conditions": "the runtime decides; the container of a skipped task starts and ends at once",
        "provider_batch": "the workflow sleeps, longer each time, between two executions of a job that asks the provider",
        "probe": "the workflow runs the job of a probe first, and the job of its task unless the other ended well",
    },
    unsupported={
        "retry_by_exit_code": "a failed task is started again whatever its exit code was; no other layer retries",
        "retry_delay": "a failed task is started again at once",
        "priority": "tasks have none; all of a level start together, 20 at a time",
        "rate_limit_pools": "jobs share no pools; calls are limited inside each task only",
    },
    advisory=frozenset({"retry_by_exit_code", "retry_delay", "priority", "rate_limit_pools"}),
    max_shards=limit("tasks_per_execution"),
)


def refusals(plan: CloudGraph) -> list[Finding]:
    """Every reason why a plan cannot run as it is; the warnings among them say what is left out."""
    findings = unsupported(plan, NAME, CAPABILITIES.unsupported, advisory=CAPABILITIES.advisory, max_shards=CAPABILITIES.max_shards)
    if len(plan.tasks) > limit("jobs_per_region"):
        reason = f"a region holds at most {limit('jobs_per_region')} jobs"
        findings.append(refusal(plan, NAME, None, f"{len(plan.tasks)} tasks", reason))
    for task in plan.tasks:
        findings += [refusal(plan, NAME, task, feature, reason, instead=instead) for feature, reason, instead in _problems(task)]
    if waits_of(plan, {task.id: task.id for task in plan.tasks}) is None:
        polls = sum(task.wait is not None for task in plan.tasks)
        reason = f"an execution of a workflow has {limit('workflow_steps')} steps, which is not enough to wait for them"
        findings.append(refusal(plan, NAME, None, f"{polls} provider batches", reason, instead="put calls into the same group"))
    return findings


def adjustments(plan: CloudGraph) -> Iterator[str]:
    """What the jobs say other than the plan, in sentences; none of it changes a result."""
    for task in plan.tasks:
        need, size = task.resources, smallest_size(task.resources)
        if size and (size.cpu, size.memory_mib) != (need.cpu, need.memory_mib):
            asked = f"{need.cpu:g} CPU and {need.memory_mib} MiB"
            yield f"`{task.id}` gets {size.cpu} CPU and {size.memory_mib} MiB, the next size above {asked}"
        if attempts(task) != task.retry.attempts:
            yield f"`{task.id}` is tried {attempts(task)} times, not {task.retry.attempts}"


def _problems(task: PlannedTask) -> Iterator[tuple[str, str, str]]:
    """What stands against one task: the feature, why not, and what to write instead."""
    yield from _size_problems(task)
    if task.timeout_s is not None and task.timeout_s > longest_timeout_s(task):
        yield f"a timeout of {task.timeout_s} s", f"the limit is {longest_timeout_s(task)} s", "raise the number of shards"
    if task.image is not None and not re.fullmatch(IMAGE, task.image):
        yield f"the image {task.image!r}", "it is not the address of an image", ""
    for name, reference in task.secrets.items():
        if secret_reference(reference) is None:
            known = "write the secret's name in Secret Manager, as in openai-key or openai-key:3"
            yield f"the secret {reference!r} for {name}", "it is no reference to Secret Manager", known
        if problem := name_problem(name):
            yield f"the variable {name!r}", problem, ""
    for name, value in task.env.items():
        if problem := problem_of(name, value):
            yield f"the variable {name!r}", problem, ""


def _size_problems(task: PlannedTask) -> Iterator[tuple[str, str, str]]:
    need = task.resources
    if need.gpu > 1:
        yield f"{need.gpu} GPUs", "a task has at most one", "raise the number of shards"
    if need.gpu and need.gpu_type is not None and need.gpu_type not in gpu_types():
        yield f"the GPU {need.gpu_type!r}", f"jobs have: {', '.join(gpu_types())}", ""
    elif smallest_size(need) is None:
        most = largest_size()
        reason = f"the largest size is {most.cpu} CPU and {most.memory_mib} MiB"
        yield f"{need.cpu:g} CPU and {need.memory_mib} MiB", reason, "raise the number of shards"
