"""The bundle's README: how to install the DAG and what its workers need.

It knows what a reader has to do; it does not know how a DAG file is written.
"""

from __future__ import annotations

from typing import Any

from xcs_airflow.canonical import canonical_json
from xcs_airflow.plan import CloudGraph
from xcs_exporters.airflow.dag import Dag
from xcs_exporters.airflow.describe import run_sentence
from xcs_exporters.airflow.holes import fill
from xcs_exporters.airflow.markdown_text import markdown
from xcs_exporters.airflow.settings import AirflowSettings

_LONGEST_DEFAULT = 80


def write_readme(plan: CloudGraph, dag: Dag, settings: AirflowSettings) -> str:
    """The text of `README.md`.

    Args:
        plan: What is to run.
        dag: The DAG it became.
        settings: What the user set for this target.
    """
    providers = {provider for task in plan.tasks for provider in task.providers}
    return fill(
        "README.md.j2",
        markdown,
        plan=plan,
        dag=dag,
        expected=run_sentence(plan),
        secrets=sorted({pair for task in plan.tasks for pair in task.secrets.items()}),
        parameters=[(spec.name, _shown(spec.default) if spec.has_default else "") for spec in plan.parameters],
        pools=sorted((name, pool) for name, pool in settings.pools.items() if name in providers),
    )


def _shown(value: Any) -> str:
    text = canonical_json(value)
    return text if len(text) <= _LONGEST_DEFAULT else f"{text[:_LONGEST_DEFAULT]}..."
