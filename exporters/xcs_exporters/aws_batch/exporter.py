"""The exporter: a plan as files for AWS Batch, Step Functions, EventBridge Scheduler and CloudFormation.

It knows which file holds what and what the platform can do; each kind of file is made by a module of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel

from xcs_airflow.canonical import pretty_document
from xcs_airflow.errors import ExportError, Finding, UnsupportedError
from xcs_airflow.exporting.bundle import Bundle
from xcs_airflow.exporting.port import Capabilities
from xcs_airflow.exporting.target_settings import read_settings
from xcs_airflow.plan.cloud_graph import CloudGraph
from xcs_airflow.plan.legalise import refusal, unsupported
from xcs_exporters.aws_batch.job_definitions import JobClass, job_classes, task_findings
from xcs_exporters.aws_batch.polling import MAX_EVENTS
from xcs_exporters.aws_batch.readme import Readme
from xcs_exporters.aws_batch.rules import broken_rules
from xcs_exporters.aws_batch.schedule import schedule, schedule_findings
from xcs_exporters.aws_batch.settings import TARGET, AwsBatchSettings
from xcs_exporters.aws_batch.state_machine import patience, state_machine
from xcs_exporters.aws_batch.template import MAX_TEMPLATE_BYTES, template

CAPABILITIES: Final = Capabilities(
    supported={
        "schedule": "EventBridge Scheduler starts an execution; cron expressions are converted to its notation",
        "timezone": "EventBridge Scheduler knows time zones by their IANA names",
        "parameters": "the input of the execution, handed to every task as one JSON document",
        "edges": "states one after the other and side by side, nested as the graph is; where it is not series-parallel, a level waits",
        "shards": "array jobs; the runtime takes its shard from the index of its child job",
        "retries": "the job definition's retry strategy, and nobody else's",
        "retry_by_exit_code": "exit code 75 and lost machines are tried again, everything else is final",
        "timeout": "the job definition's limit for one attempt, at least 60 seconds",
        "cpu_and_memory": "the next size that Fargate offers, up to 32 vCPU and 244 GiB",
        "gpu": "EC2 instances with that GPU, in a compute environment and a queue of their own",
        "secrets": "references to Secrets Manager or Parameter Store, which the execution role may read",
        "environment": "variables of the job definition's container",
        "image_per_task": "tasks with an image of their own have a job definition of their own",
        "conditions": "the runtime decides; the job of a task that is skipped ends at once",
        "provider_batch": "a loop of states that waits longer each time: no machine runs between two questions",
        "probe": "whatever keeps the job of a probe from ending well is caught, and only then the job of its task is submitted",
    },
    unsupported={
        "retry_delay": "Batch starts the next attempt at once",
        "priority": "jobs of a queue without a scheduling policy start in the order they come",
        "rate_limit_pools": "jobs share no pools: calls in flight are limited in each task, not across tasks",
    },
    advisory=frozenset({"retry_delay", "priority", "rate_limit_pools"}),
    max_shards=10_000,
)
"""Sources: https://docs.aws.amazon.com/batch/latest/userguide/service_limits.html and .../array_jobs.html"""


class AwsBatchExporter:
    """Renders plans for AWS Batch: job definitions, a state machine for their order, a schedule, and a template of all.

    Attributes:
        name: As given to `--target`.
        capabilities: What the platform can do.
        settings_model: What `[tool.xcs.targets.aws-batch]` may set.
        image_extras: The extras of this package that its containers need.
    """

    name: str = TARGET
    capabilities: Capabilities = CAPABILITIES
    settings_model: type[BaseModel] = AwsBatchSettings
    image_extras: tuple[str, ...] = ("aws",)

    def emit(self, plan: CloudGraph, settings: Mapping[str, Any]) -> Bundle:
        """The platform's files for a plan.

        Args:
            plan: What to render.
            settings: `[tool.xcs.targets.aws-batch]` as read; see `settings.AwsBatchSettings`.

        Raises:
            UnsupportedError: The platform cannot run the plan; carries every finding.
            ExportError: A setting is not valid.
        """
        chosen = read_settings(AwsBatchSettings, TARGET, settings)
        findings = _refusals(plan)
        if any(finding.severity == "error" for finding in findings):
            raise UnsupportedError(findings)
        classes = job_classes(plan, chosen)
        _check_capacity(classes, chosen)
        definition = state_machine(plan, {task: job_class for job_class in classes for task in job_class.tasks})
        timetable = schedule(plan)
        files = {f"job-definitions/{job_class.name}.json": pretty_document(job_class.request) for job_class in classes}
        files["state-machine.asl.json"] = pretty_document(definition)
        if timetable is not None:
            files["schedule.json"] = pretty_document(timetable)
        files["template.json"] = pretty_document(template(plan, chosen, classes, definition, timetable))
        if len(files["template.json"].encode()) > MAX_TEMPLATE_BYTES:
            reason = f"their template is larger than the {MAX_TEMPLATE_BYTES} bytes that CloudFormation takes"
            raise UnsupportedError([refusal(plan, self.name, None, f"{len(plan.tasks)} tasks", reason, instead="map rather than unroll")])
        files["README.md"] = Readme(plan, chosen, classes, findings).text()
        return Bundle().with_files(files)

    def check(self, bundle: Bundle) -> tuple[Finding, ...]:
        """What AWS would refuse about a bundle, or accept and regret, by the rules of `rules.RULES`."""
        return broken_rules(bundle)


def _refusals(plan: CloudGraph) -> list[Finding]:
    """Every reason why a plan cannot run as it is; the warnings among them say what is left out."""

    def all_of_them() -> Iterator[Finding]:
        yield from unsupported(plan, TARGET, CAPABILITIES.unsupported, advisory=CAPABILITIES.advisory, max_shards=CAPABILITIES.max_shards)
        yield from task_findings(plan, TARGET)
        yield from schedule_findings(plan, TARGET)
        if patience(plan) is None:
            polls = sum(task.wait is not None for task in plan.tasks)
            reason = f"the history of an execution has {MAX_EVENTS} events, which is not enough to wait for them"
            yield refusal(plan, TARGET, None, f"{polls} provider batches", reason, instead="put calls into the same group")

    return list(all_of_them())


def _check_capacity(classes: Sequence[JobClass], settings: AwsBatchSettings) -> None:
    """Refuse a limit that would leave jobs waiting for ever."""
    needed = max(math.ceil(float(job_class.amounts["VCPU"])) for job_class in classes)
    if needed > settings.max_vcpus:
        raise ExportError.because("XCS503", name="max_vcpus", target=TARGET, reason=f"a task needs {needed} vCPUs")
