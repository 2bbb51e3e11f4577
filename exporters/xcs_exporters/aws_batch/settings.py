"""The settings of this target, `[tool.xcs.targets.aws-batch]`: defaults of the template's parameters, and what it creates.

It knows names and ranges; it reads no file. Everything has a default, because a template is complete without any account.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator

from xcs_airflow.values import Frozen
from xcs_exporters.aws_batch.environment import looks_secret, why_not_variable

TARGET = "aws-batch"

STORE_PATTERN = r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9_.=-]+)*$"
IMAGE_PATTERN = r"^[a-z0-9][A-Za-z0-9._:/@-]*$"
QUEUE_PATTERN = r"^arn:aws[a-z-]*:batch:[a-z0-9-]+:[0-9]{12}:job-queue/[A-Za-z0-9_-]+$"

Retention = Literal[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653]


def _text(pattern: str) -> StringConstraints:
    return StringConstraints(pattern=pattern, max_length=1024)


class AwsBatchSettings(Frozen):
    """What a project says about its AWS account.

    Attributes:
        region: For the commands of the bundle's README; None leaves it to the AWS CLI.
        image: Default of the parameter ImageUri.
        store: Default of the parameter StoreUri, `s3://bucket/prefix`: results, records and, in the folder `cache`, answers.
        queue: ARN of a job queue on Fargate to submit to; None creates one with a compute environment. Tasks with GPUs get their own.
        subnets: Default of the parameter SubnetIds.
        security_groups: Default of the parameter SecurityGroupIds.
        assign_public_ip: Whether Fargate jobs get a public address, which they need in a subnet without NAT to reach any model.
        max_vcpus: The most vCPUs that run at a time, of each kind of machine.
        spot: Whether to run on spare capacity, cheaper and sometimes interrupted; what is interrupted is tried again.
        log_retention_days: For how long logs are kept.
        env: Environment variables of every task, as in `XCS_MODELS`; those of an operation go before them.
    """

    region: Annotated[str, _text(r"^[a-z]{2}(-[a-z]+)+-[0-9]+$")] | None = None
    image: Annotated[str, _text(IMAGE_PATTERN)] | None = None
    store: Annotated[str, _text(STORE_PATTERN)] | None = None
    queue: Annotated[str, _text(QUEUE_PATTERN)] | None = None
    subnets: tuple[Annotated[str, _text(r"^subnet-([0-9a-f]{8}|[0-9a-f]{17})$")], ...] = ()
    security_groups: tuple[Annotated[str, _text(r"^sg-([0-9a-f]{8}|[0-9a-f]{17})$")], ...] = ()
    assign_public_ip: bool = True
    max_vcpus: int = Field(default=256, ge=1, le=100_000)
    spot: bool = False
    log_retention_days: Retention = 30
    env: dict[str, str] = Field(default_factory=dict)

    @field_validator("env")
    @classmethod
    def _are_variables(cls, env: dict[str, str]) -> dict[str, str]:
        problems = [f"{name}: {problem}" for name, value in env.items() if (problem := why_not_variable(name, value))]
        problems += [f"{name}: secrets are given by reference, by the operation that needs them" for name in env if looks_secret(name)]
        if problems:
            raise ValueError("; ".join(problems))
        return env
