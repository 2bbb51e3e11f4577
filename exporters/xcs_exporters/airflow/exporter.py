"""The exporter: a plan as a DAG file for Airflow 3.3, and what lies beside it.

It knows which file holds what; how each is written is the part of a module of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xcs_airflow.errors import ExportError, Finding, UnsupportedError
from xcs_airflow.exporting.assemble import tool_version
from xcs_airflow.exporting.bundle import Bundle
from xcs_airflow.exporting.port import Capabilities
from xcs_airflow.exporting.target_settings import read_settings
from xcs_airflow.plan import CloudGraph
from xcs_exporters.airflow.capabilities import CAPABILITIES, refusals
from xcs_exporters.airflow.dag import FILE_STEM, dag_of
from xcs_exporters.airflow.holes import fill
from xcs_exporters.airflow.python_text import literal
from xcs_exporters.airflow.readme import write_readme
from xcs_exporters.airflow.rules import IGNORE_FILE, IGNORED, check_bundle
from xcs_exporters.airflow.settings import NAME, AirflowSettings


class AirflowExporter:
    """Renders plans for Airflow 3.3: one DAG file, parsed without this package, whose tasks run through the runtime.

    Attributes:
        name: As given to `--target`.
        capabilities: What Airflow can do.
        settings_model: What `[tool.xcs.targets.airflow]` may hold.
        image_extras: None, because the tasks run in the workers' own environment.
    """

    name: str = NAME
    capabilities: Capabilities = CAPABILITIES
    settings_model: type[AirflowSettings] = AirflowSettings
    image_extras: None = None

    def emit(self, plan: CloudGraph, settings: Mapping[str, Any]) -> Bundle:
        """The DAG file, the file that hides `code/` from Airflow, and how to install them.

        Args:
            plan: What is to run.
            settings: `[tool.xcs.targets.airflow]`; see `settings.AirflowSettings`.

        Raises:
            UnsupportedError: Airflow cannot run the plan; carries every finding.
            ExportError: A setting is not valid, or the DAG file would not pass this exporter's own rules.
        """
        chosen = read_settings(AirflowSettings, NAME, settings)
        findings = refusals(plan, chosen)
        if any(finding.severity == "error" for finding in findings):
            raise UnsupportedError(findings)
        dag = dag_of(plan, chosen, f"xcs-airflow {tool_version()}")
        files = {
            f"{FILE_STEM.mangle(plan.name)}.py": fill("dag.py.j2", literal, dag=dag),
            IGNORE_FILE: IGNORED,
            "README.md": write_readme(plan, dag, chosen),
        }
        bundle = Bundle().with_files(files)
        broken = self.check(bundle)
        if broken:
            raise ExportError(broken)
        return bundle

    def check(self, bundle: Bundle) -> tuple[Finding, ...]:
        """What Airflow or a careful reviewer would refuse about a bundle, as far as the rules of `rules.RULES` can tell."""
        return check_bundle(bundle)
