"""The exporter: a plan as files for Google Cloud Run, Workflows and Scheduler.

It knows which file holds what; each kind of file is made by a module of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xcs_airflow.errors import Finding, UnsupportedError
from xcs_airflow.exporting.bundle import Bundle
from xcs_airflow.exporting.port import Capabilities
from xcs_airflow.exporting.target_settings import read_settings
from xcs_airflow.plan import CloudGraph
from xcs_airflow.plan.legalise import refusal
from xcs_exporters.cloud_run.account import Account, describe, to_text, used_variables
from xcs_exporters.cloud_run.capabilities import CAPABILITIES, refusals
from xcs_exporters.cloud_run.jobs import NAMES, build_job, job_names
from xcs_exporters.cloud_run.limits import limit
from xcs_exporters.cloud_run.readme import write_readme
from xcs_exporters.cloud_run.rules import broken_rules
from xcs_exporters.cloud_run.schedule import build_schedule
from xcs_exporters.cloud_run.settings import NAME, CloudRunSettings
from xcs_exporters.cloud_run.workflow import build_workflow, to_source


class CloudRunExporter:
    """Renders plans for Cloud Run: a job per task, a workflow for their order, a schedule if there is one.

    Attributes:
        name: As given to `--target`.
        capabilities: What the platform can do.
        settings_model: What `[tool.xcs.targets.cloud-run]` may set.
        image_extras: The extras of this package that its containers need.
    """

    name: str = NAME
    capabilities: Capabilities = CAPABILITIES
    settings_model: type[CloudRunSettings] = CloudRunSettings
    image_extras: tuple[str, ...] = ("gcp",)

    def emit(self, plan: CloudGraph, settings: Mapping[str, Any]) -> Bundle:
        """The platform's files for a plan.

        Args:
            plan: What is to run.
            settings: `[tool.xcs.targets.cloud-run]`; see `settings.CloudRunSettings`.

        Raises:
            UnsupportedError: The platform cannot run the plan; carries every finding.
            ExportError: A setting is not valid.
        """
        chosen = read_settings(CloudRunSettings, NAME, settings)
        findings = refusals(plan)
        if any(finding.severity == "error" for finding in findings):
            raise UnsupportedError(findings)
        account, names, workflow = Account.of(chosen), job_names(plan), NAMES.mangle(plan.name)
        files = {f"jobs/{names[task.id]}.json": to_text(build_job(plan, task, chosen, account)) for task in plan.tasks}
        schedule = build_schedule(plan, workflow, account)
        if schedule is not None:
            files["scheduler.json"] = to_text(schedule)
        files["variables.json"] = to_text(describe(used_variables(files.values())))
        files["workflow.json"] = _fitting(plan, to_source(build_workflow(plan, names, chosen)))
        files["README.md"] = write_readme(plan, workflow, chosen, findings)
        return Bundle().with_files(files)

    def check(self, bundle: Bundle) -> tuple[Finding, ...]:
        """What the platform would refuse about a bundle, as far as the rules of `rules.RULES` can tell."""
        return broken_rules(bundle)


def _fitting(plan: CloudGraph, source: str) -> str:
    """The source of a workflow, if it is not too long."""
    size, most = len(source.encode()), limit("workflow_bytes")
    if size > most:
        reason = f"the workflow's source would have {size:,} bytes, the limit is {most:,}"
        raise UnsupportedError([refusal(plan, NAME, None, f"{len(plan.tasks)} tasks", reason, instead="split the pipeline")])
    return source
