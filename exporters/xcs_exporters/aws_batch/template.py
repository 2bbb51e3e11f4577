"""One CloudFormation template with everything a pipeline needs in an AWS account; what differs by account is a parameter.

It knows resources and how they refer to each other; the documents it wraps are made elsewhere. No resource has a fixed name, so
the same template can be deployed more than once in an account.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xcs_airflow.canonical import canonical_json
from xcs_airflow.plan.cloud_graph import CloudGraph
from xcs_exporters.aws_batch import roles
from xcs_exporters.aws_batch.job_definitions import JobClass, queue_variable
from xcs_exporters.aws_batch.secrets import is_arn, name_variable
from xcs_exporters.aws_batch.settings import IMAGE_PATTERN, QUEUE_PATTERN, STORE_PATTERN, AwsBatchSettings
from xcs_exporters.aws_batch.sizes import GpuFamily
from xcs_exporters.aws_batch.state_machine import JOB_NAMES
from xcs_exporters.aws_batch.variables import as_intrinsic, as_properties

Resource = dict[str, Any]

MAX_TEMPLATE_BYTES = 1_000_000
"""Given as an object in S3; source: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html"""

STUCK_AFTER_S = 600
_NEVER_STARTS = ("MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE", "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT")
"""Source: https://docs.aws.amazon.com/batch/latest/userguide/job_stuck_in_runnable.html"""


def template(
    plan: CloudGraph,
    settings: AwsBatchSettings,
    classes: Sequence[JobClass],
    definition: Mapping[str, Any],
    schedule: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The template of a plan.

    Args:
        plan: What it runs.
        settings: Defaults of the parameters.
        classes: The job definitions.
        definition: Of the state machine.
        schedule: Input of CreateSchedule; None makes none.
    """
    machines = list(dict.fromkeys(job_class.gpu for job_class in classes))
    secrets = [reference for task in plan.tasks for reference in task.secrets.values()]
    queues = [queue_variable(gpu) for gpu in machines]
    resources: dict[str, Resource] = {
        "LogGroup": _log_group(settings.log_retention_days),
        "ExecutionRole": roles.execution_role(secrets),
        "JobRole": roles.job_role(),
        "StateMachineRole": roles.state_machine_role(queues),
        "StateMachine": _state_machine(plan, definition, queues, classes),
        **{job_class.variable: job_definition(job_class.request) for job_class in classes},
    }
    for gpu in machines:
        if gpu is not None or settings.queue is None:
            resources |= _machines(gpu, settings)
    if any(machines):
        resources |= {"InstanceRole": roles.instance_role(), "InstanceProfile": _INSTANCE_PROFILE}
    if schedule is not None:
        resources |= {"SchedulerRole": roles.scheduler_role(), "Schedule": schedule_resource(schedule)}
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": f"{JOB_NAMES.mangle(plan.name)}: AWS Batch jobs run by a Step Functions state machine; written by xcs-export",
        "Parameters": _parameters(settings, secrets, machines),
        "Resources": resources,
        "Outputs": {
            "StateMachineArn": {"Description": "Start an execution of it to run the pipeline", "Value": {"Ref": "StateMachine"}},
            "LogGroupName": {"Description": "The logs of every task", "Value": {"Ref": "LogGroup"}},
        },
    }


def job_definition(request: Mapping[str, Any]) -> Resource:
    """A job definition; what a new version of the template leaves out stays registered for runs in flight."""
    named = {name: value for name, value in request.items() if name != "jobDefinitionName"}
    return {
        "Type": "AWS::Batch::JobDefinition",
        "DeletionPolicy": "Retain",
        "UpdateReplacePolicy": "Retain",
        "Properties": {**as_properties(named), "ResourceRetentionPolicy": {"SkipDeregisterOnUpdate": True}},
    }


def definition_string(definition: Mapping[str, Any]) -> str:
    """The state machine as the template holds it: the same document as the file, without its line ends."""
    return canonical_json(definition)


def schedule_resource(request: Mapping[str, Any]) -> Resource:
    """A schedule."""
    unnamed = {name: value for name, value in request.items() if name != "Name"}
    return {"Type": "AWS::Scheduler::Schedule", "Properties": as_properties(unnamed)}


def _state_machine(plan: CloudGraph, definition: Mapping[str, Any], queues: Sequence[str], classes: Sequence[JobClass]) -> Resource:
    variables = [*queues, *(job_class.variable for job_class in classes)]
    submit = as_intrinsic("arn:${AWS::Partition}:states:::batch:submitJob.sync")
    return {
        "Type": "AWS::StepFunctions::StateMachine",
        "Properties": {
            "DefinitionString": definition_string(definition),
            "DefinitionSubstitutions": {"SubmitJob": submit, **{name: {"Ref": name} for name in variables}},
            "RoleArn": as_intrinsic("${StateMachineRole.Arn}"),
            "StateMachineType": "STANDARD",
            "Tags": [
                {"Key": "xcs:pipeline", "Value": JOB_NAMES.mangle(plan.name)},
                {"Key": "xcs:digest", "Value": plan.graph_digest},
            ],
        },
    }


def _log_group(days: int) -> Resource:
    """Logs go with the stack."""
    policies = {"DeletionPolicy": "Delete", "UpdateReplacePolicy": "Delete"}
    return {"Type": "AWS::Logs::LogGroup", **policies, "Properties": {"RetentionInDays": days}}


_INSTANCE_PROFILE: Resource = {"Type": "AWS::IAM::InstanceProfile", "Properties": {"Roles": [{"Ref": "InstanceRole"}]}}


def _machines(gpu: GpuFamily | None, settings: AwsBatchSettings) -> dict[str, Resource]:
    """A compute environment and its queue; jobs that can never start are cancelled, so that no run waits for ever."""
    environment = queue_variable(gpu).replace("JobQueue", "ComputeEnvironment")
    compute: Resource = {
        "MaxvCpus": {"Ref": "MaxVcpus"},
        "Subnets": {"Ref": "SubnetIds"},
        "SecurityGroupIds": {"Ref": "SecurityGroupIds"},
    }
    if gpu is None:
        compute["Type"] = "FARGATE_SPOT" if settings.spot else "FARGATE"
    else:
        compute |= {
            "Type": "SPOT" if settings.spot else "EC2",
            "AllocationStrategy": "SPOT_PRICE_CAPACITY_OPTIMIZED" if settings.spot else "BEST_FIT_PROGRESSIVE",
            "InstanceTypes": [gpu.family],
            "InstanceRole": as_intrinsic("${InstanceProfile.Arn}"),
            "MinvCpus": 0,
        }
    limits = [{"Action": "CANCEL", "State": "RUNNABLE", "Reason": reason, "MaxTimeSeconds": STUCK_AFTER_S} for reason in _NEVER_STARTS]
    return {
        environment: {
            "Type": "AWS::Batch::ComputeEnvironment",
            "Properties": {"Type": "MANAGED", "ComputeResources": compute, "ReplaceComputeEnvironment": False},
        },
        queue_variable(gpu): {
            "Type": "AWS::Batch::JobQueue",
            "Properties": {
                "Priority": 1,
                "ComputeEnvironmentOrder": [{"Order": 1, "ComputeEnvironment": {"Ref": environment}}],
                "JobStateTimeLimitActions": limits,
            },
        },
    }


def _parameters(settings: AwsBatchSettings, secrets: Sequence[str], machines: Sequence[GpuFamily | None]) -> dict[str, Resource]:
    creates_machines = settings.queue is None or any(machines)
    parameters: dict[str, Resource] = {
        "ImageUri": _text("The image built from this bundle's Dockerfile, as pushed to a registry", settings.image, IMAGE_PATTERN),
        "StoreUri": _text("The folder in S3 for results and answers, with no slash at its end", settings.store, STORE_PATTERN),
    }
    if None in machines:
        public = "ENABLED" if settings.assign_public_ip else "DISABLED"
        parameters["AssignPublicIp"] = {
            "Type": "String",
            "Description": "ENABLED in public subnets; DISABLED in private ones, which then need a way out to registry, S3 and models",
            "AllowedValues": ["DISABLED", "ENABLED"],
            "Default": public,
        }
    if None in machines and settings.queue is not None:
        parameters["JobQueue"] = _text("ARN of the job queue on Fargate to submit to", settings.queue, QUEUE_PATTERN)
    if creates_machines:
        parameters |= {
            "SubnetIds": _ids("AWS::EC2::Subnet::Id", "Subnets to run tasks in", settings.subnets),
            "SecurityGroupIds": _ids("AWS::EC2::SecurityGroup::Id", "Security groups of the tasks", settings.security_groups),
            "MaxVcpus": {
                "Type": "Number",
                "Description": "The most vCPUs that run at a time, of each kind of machine",
                "MinValue": 1,
                "MaxValue": 100_000,
                "Default": settings.max_vcpus,
            },
        }
    for reference in sorted(set(secrets)):
        if not is_arn(reference):
            parameters[name_variable(reference)] = _text("Name of a secret in Secrets Manager", reference, r"^[A-Za-z0-9/_+=.@-]+$")
    return parameters


def _text(description: str, default: str | None, pattern: str) -> Resource:
    given = {} if default is None else {"Default": default}
    return {"Type": "String", "Description": description, "AllowedPattern": pattern, **given}


def _ids(kind: str, description: str, default: Sequence[str]) -> Resource:
    given = {"Default": ",".join(default)} if default else {}
    return {"Type": f"List<{kind}>", "Description": description, **given}
