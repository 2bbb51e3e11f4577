"""The job definitions of a plan: one for every class of tasks that need the same machine, image, environment and patience.

Which task a job runs is a parameter, given when it is submitted. It knows RegisterJobDefinition
(https://docs.aws.amazon.com/batch/latest/APIReference/API_RegisterJobDefinition.html); it does not know who submits.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xcs_airflow.canonical import digest
from xcs_airflow.errors import Finding
from xcs_airflow.exporting.image import RUNTIME_COMMAND
from xcs_airflow.plan.cloud_graph import CloudGraph, PlannedTask
from xcs_airflow.plan.legalise import NameRule, refusal
from xcs_exporters.aws_batch.environment import why_not_variable
from xcs_exporters.aws_batch.secrets import is_reference, value_from
from xcs_exporters.aws_batch.settings import IMAGE_PATTERN, AwsBatchSettings
from xcs_exporters.aws_batch.sizes import GpuFamily, fargate_size, gpu_families, gpu_family
from xcs_exporters.aws_batch.variables import literal

JOB_DEFINITION_NAMES = NameRule("A-Za-z0-9_-", 128)

MIN_TIMEOUT_S = 60
MAX_ATTEMPTS = 10

TRY_AGAIN_CODE = "75"
"""The exit code by which the runtime says that trying again may help."""

_WHEN_ENDED: tuple[dict[str, str], ...] = (
    {"onExitCode": TRY_AGAIN_CODE, "action": "RETRY"},
    {"onStatusReason": "Host EC2*", "action": "RETRY"},
    {"onStatusReason": "Your Spot Task was interrupted*", "action": "RETRY"},
    {"onStatusReason": "Task failed to start*", "action": "RETRY"},
    {"onReason": "*", "action": "EXIT"},
)
"""What no rule matches would be retried, so the last one matches all.
Source: https://docs.aws.amazon.com/batch/latest/userguide/job_retries.html"""


@dataclass(frozen=True)
class JobClass:
    """Tasks that share a job definition.

    Attributes:
        name: Of the job definition; ends in a hash of its content.
        variable: Stands for its ARN in the state machine, and is its logical id in the template.
        gpu: The instances it runs on; None runs on Fargate.
        request: Input of RegisterJobDefinition, account-specific values as variables.
        tasks: Ids of its tasks, in plan order.
    """

    name: str
    variable: str
    gpu: GpuFamily | None
    request: Mapping[str, Any]
    tasks: tuple[str, ...]

    @property
    def amounts(self) -> dict[str, str]:
        """What one job of it gets: `VCPU`, `MEMORY` in MiB, and `GPU` if it has any."""
        return {entry["type"]: entry["value"] for entry in self.request["containerProperties"]["resourceRequirements"]}

    @property
    def queue(self) -> str:
        """The variable that stands for the ARN of its job queue."""
        return queue_variable(self.gpu)


def variable_of(name: str) -> str:
    """What stands for the ARN of a job definition, by the hash its name ends in."""
    return f"JobDefinition{name.rpartition('-')[2]}"


def queue_variable(gpu: GpuFamily | None) -> str:
    """The logical id of the queue for one kind of machine."""
    return f"{gpu.family.capitalize()}JobQueue" if gpu else "JobQueue"


def job_classes(plan: CloudGraph, settings: AwsBatchSettings) -> list[JobClass]:
    """Every job definition a plan needs, in the order of its tasks; the plan has no `task_findings`."""
    requests: dict[str, dict[str, Any]] = {}
    members: dict[str, list[PlannedTask]] = {}
    for task in plan.tasks:
        request = _request(task, settings, takes_parameters=bool(plan.parameters))
        mark = digest(request)
        requests[mark] = request
        members.setdefault(mark, []).append(task)
    return [_job_class(plan.name, mark, request, members[mark]) for mark, request in requests.items()]


def _job_class(pipeline: str, mark: str, request: Mapping[str, Any], tasks: Sequence[PlannedTask]) -> JobClass:
    legal = JOB_DEFINITION_NAMES.mangle(pipeline)
    name = JOB_DEFINITION_NAMES.mangle(f"{legal[:100]}-{mark[:12]}")
    needed = tasks[0].resources
    return JobClass(
        name=name,
        variable=variable_of(name),
        gpu=gpu_family(needed.gpu_type) if needed.gpu else None,
        request={"jobDefinitionName": name, **request, "tags": {"xcs:pipeline": legal, "xcs:digest": mark}},
        tasks=tuple(task.id for task in tasks),
    )


def task_findings(plan: CloudGraph, target: str) -> Iterator[Finding]:
    """Every task that no job definition can hold, and why."""
    for task in plan.tasks:
        for feature, reason, instead in _impossible(task):
            yield refusal(plan, target, task, feature, reason, instead=instead)


def adjustments(plan: CloudGraph) -> Iterator[tuple[str, str]]:
    """What a job definition says other than the plan: task id and a sentence."""
    for task in plan.tasks:
        needed = task.resources
        size = None if needed.gpu else fargate_size(needed.cpu, needed.memory_mib)
        if size and (float(size.vcpu), size.memory_mib) != (needed.cpu, needed.memory_mib):
            asked = f"{needed.cpu:g} vCPU and {needed.memory_mib} MiB"
            yield task.id, f"{size.vcpu} vCPU and {size.memory_mib} MiB, the next size of Fargate above {asked}"
        if task.timeout_s is not None and task.timeout_s < MIN_TIMEOUT_S:
            yield task.id, f"an attempt may take {MIN_TIMEOUT_S} seconds, not {task.timeout_s}"
        if task.retry.attempts > MAX_ATTEMPTS:
            yield task.id, f"{MAX_ATTEMPTS} attempts, not {task.retry.attempts}"


def _impossible(task: PlannedTask) -> Iterator[tuple[str, str, str]]:
    """Feature, reason and way out."""
    needed = task.resources
    if needed.gpu:
        family = gpu_family(needed.gpu_type)
        if family is None:
            known = ", ".join(gpu_families())
            yield f"the GPU {needed.gpu_type!r}", "no instance family is known to have it", f"known: {known}"
        elif needed.gpu > family.most_gpus:
            yield f"{needed.gpu} GPUs", f"the largest {family.family} instance has {family.most_gpus}", ""
    elif fargate_size(needed.cpu, needed.memory_mib) is None:
        yield f"{needed.cpu:g} vCPU with {needed.memory_mib} MiB", "the largest Fargate job has 32 vCPU and 249856 MiB", "use more shards"
    if task.image is not None and not re.fullmatch(IMAGE_PATTERN, task.image):
        yield f"the image {task.image!r}", "it is not the name of an image", "write one as in registry/repository:tag"
    for name, value in {**dict.fromkeys(task.secrets, ""), **task.env}.items():
        problem = why_not_variable(name, value)
        if problem:
            yield f"the environment variable {name!r}", problem, ""
    for reference in task.secrets.values():
        if not is_reference(reference):
            yield f"the secret reference {reference!r}", "it is neither an ARN nor a name", "write the name of a secret in Secrets Manager"


def _request(task: PlannedTask, settings: AwsBatchSettings, *, takes_parameters: bool) -> dict[str, Any]:
    request: dict[str, Any] = {
        "type": "container",
        "platformCapabilities": ["EC2" if task.resources.gpu else "FARGATE"],
        "containerProperties": _container(task, settings, takes_parameters=takes_parameters),
        "retryStrategy": {"attempts": min(task.retry.attempts, MAX_ATTEMPTS), "evaluateOnExit": _when_ended(task)},
        "propagateTags": True,
    }
    if takes_parameters:
        request["parameters"] = {"params": "{}"}
    if task.timeout_s is not None:
        request["timeout"] = {"attemptDurationSeconds": max(task.timeout_s, MIN_TIMEOUT_S)}
    return request


def _when_ended(task: PlannedTask) -> list[dict[str, str]]:
    """What becomes of an attempt. By the exit code of what polls or probes the state machine goes, so Batch does not try it again."""
    return [dict(rule) for rule in _WHEN_ENDED if not task.is_a_question or rule.get("onExitCode") != TRY_AGAIN_CODE]


def _container(task: PlannedTask, settings: AwsBatchSettings, *, takes_parameters: bool) -> dict[str, Any]:
    store = {"XCS_STORE": "${StoreUri}", "XCS_CACHE": "${StoreUri}/cache"}
    given = {name: literal(value) for name, value in {**settings.env, **task.env}.items()}
    plain = {name: value for name, value in {**store, **given}.items() if name not in task.secrets}
    parameters = ("--params", "Ref::params") if takes_parameters else ()
    container: dict[str, Any] = {
        "image": task.image or "${ImageUri}",
        "command": [*RUNTIME_COMMAND, "--task", "Ref::task", "--run", "Ref::run", *parameters],
        "jobRoleArn": "${JobRole.Arn}",
        "executionRoleArn": "${ExecutionRole.Arn}",
        "resourceRequirements": _requirements(task),
        "environment": [{"name": name, "value": value} for name, value in sorted(plain.items())],
        "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "${LogGroup}", "awslogs-stream-prefix": "xcs"}},
    }
    if task.secrets:
        secrets = sorted(task.secrets.items())
        container["secrets"] = [{"name": name, "valueFrom": value_from(reference)} for name, reference in secrets]
    if not task.resources.gpu:
        container["networkConfiguration"] = {"assignPublicIp": "${AssignPublicIp}"}
        container["runtimePlatform"] = {"operatingSystemFamily": "LINUX", "cpuArchitecture": "X86_64"}
    return container


def _requirements(task: PlannedTask) -> list[dict[str, str]]:
    needed = task.resources
    size = None if needed.gpu else fargate_size(needed.cpu, needed.memory_mib)
    if size is not None:
        amounts = {"VCPU": size.vcpu, "MEMORY": str(size.memory_mib)}
    else:
        amounts = {"VCPU": str(math.ceil(needed.cpu)), "MEMORY": str(max(needed.memory_mib, 4)), "GPU": str(needed.gpu)}
    return [{"type": kind, "value": value} for kind, value in amounts.items()]
