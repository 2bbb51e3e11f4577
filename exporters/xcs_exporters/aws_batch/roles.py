"""The IAM roles of a pipeline, each with what it needs and no more.

It knows permissions; it does not know the resources beyond their logical ids. Where a permission names more than one resource of
this stack, a comment says why.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from xcs_exporters.aws_batch.secrets import read_action, readable_arns
from xcs_exporters.aws_batch.variables import as_intrinsic

Resource = dict[str, Any]


def execution_role(secrets: Iterable[str]) -> Resource:
    """Starts containers: pulls images of this account, writes logs, reads exactly the secrets of the pipeline."""
    statements = [
        _allow(["ecr:GetAuthorizationToken"], "*"),  # has no resource-level permission
        _allow(
            ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
            "arn:${AWS::Partition}:ecr:*:${AWS::AccountId}:repository/*",  # ImageUri may change without a new role
        ),
        _allow(["logs:CreateLogStream", "logs:PutLogEvents"], "${LogGroup.Arn}"),
    ]
    by_action: dict[str, list[str]] = {}
    for reference in sorted(set(secrets)):
        by_action.setdefault(read_action(reference), []).extend(readable_arns(reference))
    statements += [_allow([action], *arns) for action, arns in sorted(by_action.items())]
    return _role("ecs-tasks.amazonaws.com", statements)


def job_role() -> Resource:
    """What the code of tasks may do: read and write below StoreUri."""
    bucket = {"Fn::Select": [2, {"Fn::Split": ["/", {"Ref": "StoreUri"}]}]}
    path = {"Fn::Select": [1, {"Fn::Split": ["s3://", {"Ref": "StoreUri"}]}]}
    objects = {"Fn::Sub": ["arn:${AWS::Partition}:s3:::${Path}/*", {"Path": path}]}
    listing = {"Fn::Sub": ["arn:${AWS::Partition}:s3:::${Bucket}", {"Bucket": bucket}]}
    return _role(
        "ecs-tasks.amazonaws.com",
        [
            _allow_on(["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"], [objects]),
            _allow_on(["s3:ListBucket"], [listing]),
        ],
    )


def state_machine_role(queues: Iterable[str]) -> Resource:
    """Submits jobs to the queues, waits for them and terminates them.

    Sources: https://docs.aws.amazon.com/step-functions/latest/dg/batch-iam.html and, for what may be narrowed,
    https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsbatch.html
    """
    here = "${AWS::Region}:${AWS::AccountId}"
    jobs = f"arn:${{AWS::Partition}}:batch:{here}:job/*"  # a job has no ARN before it is submitted
    definitions = f"arn:${{AWS::Partition}}:batch:{here}:job-definition/*"  # a run in flight keeps the revisions it began with
    rule = f"arn:${{AWS::Partition}}:events:{here}:rule/StepFunctionsGetEventsForBatchJobsRule"
    return _role(
        "states.amazonaws.com",
        [
            _allow(["batch:SubmitJob"], *(f"${{{queue}}}" for queue in queues), definitions),
            _allow(["batch:TagResource", "batch:TerminateJob"], jobs),
            _allow(["batch:DescribeJobs"], "*"),  # has no resource-level permission
            _allow(["events:DescribeRule", "events:PutRule", "events:PutTargets"], rule),
        ],
        is_called_for_this_account=True,
    )


def scheduler_role() -> Resource:
    """Starts executions of the state machine."""
    statements = [_allow(["states:StartExecution"], "${StateMachine}")]
    return _role("scheduler.amazonaws.com", statements, is_called_for_this_account=True)


def instance_role() -> Resource:
    """What EC2 instances of a compute environment need to be part of a cluster."""
    policy = "arn:${AWS::Partition}:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"
    role = _role("ec2.amazonaws.com", [])
    role["Properties"]["ManagedPolicyArns"] = [as_intrinsic(policy)]
    return role


def _role(service: str, statements: list[Resource], *, is_called_for_this_account: bool = False) -> Resource:
    trust: Resource = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    if is_called_for_this_account:
        trust["Condition"] = {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
    properties: Resource = {"AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [trust]}}
    if statements:
        properties["Policies"] = [{"PolicyName": "needed", "PolicyDocument": {"Version": "2012-10-17", "Statement": statements}}]
    return {"Type": "AWS::IAM::Role", "Properties": properties}


def _allow(actions: list[str], *resources: str) -> Resource:
    return _allow_on(actions, [as_intrinsic(resource) for resource in resources])


def _allow_on(actions: list[str], resources: list[Any]) -> Resource:
    return {"Effect": "Allow", "Action": actions, "Resource": resources if len(resources) > 1 else resources[0]}
