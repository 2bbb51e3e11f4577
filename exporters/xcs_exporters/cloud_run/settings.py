"""`[tool.xcs.targets.cloud-run]`: what is known of the account when the files are written.

It knows the fields and their form; what stands in for those not given is `variables`' part.
"""

from __future__ import annotations

from pydantic import Field, field_validator

from xcs_airflow.values import Frozen
from xcs_exporters.cloud_run.environment import problem_of

NAME = "cloud-run"
IMAGE = r"^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,511}$"


class CloudRunSettings(Frozen):
    """The settings of this target; every one may be left out.

    Attributes:
        project: Id of the Google Cloud project.
        region: Where jobs, workflow and schedule live, as in `europe-west1`.
        image: Address of the container image the bundle's Dockerfile is pushed to.
        service_account: E-mail address of the service account that runs jobs and workflow.
        bucket: Cloud Storage bucket of the store.
        prefix: Folder of the store inside the bucket; pipelines that share it share the answers they remember.
        timeout_s: Seconds after which one start of a task is ended that has no limit of its own.
        env: Environment variables of every job, as in `XCS_CACHE` or `XCS_MODELS`; a task's own go before them.
    """

    project: str | None = Field(default=None, pattern=r"^[a-z][a-z0-9:.-]{1,98}[a-z0-9]$")
    region: str | None = Field(default=None, pattern=r"^[a-z]+(-[a-z]+)*-[a-z]+[0-9]+$")
    image: str | None = Field(default=None, pattern=IMAGE)
    service_account: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9.-]*@[a-z0-9][a-z0-9.-]*$")
    bucket: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$")
    prefix: str = Field(default="xcs", pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$")
    timeout_s: int = Field(default=3600, ge=1)
    env: dict[str, str] = Field(default_factory=dict)

    @field_validator("env")
    @classmethod
    def _acceptable(cls, env: dict[str, str]) -> dict[str, str]:
        problems = [f"{name}: {problem}" for name, value in env.items() if (problem := problem_of(name, value))]
        if problems:
            raise ValueError("; ".join(problems))
        return env
