"""`[tool.xcs.targets.airflow]`: what a user may set for this target.

It knows the settings and their limits; it does not know plans.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails

from xcs_airflow.errors import ExportError, Finding
from xcs_airflow.values import Frozen

NAME = "airflow"

KEY = r"[A-Za-z0-9_.\-]{1,250}"
"""What Airflow takes for the id of a DAG or a task (`validate_key` in airflow/sdk/definitions/_internal/node.py, 3.3.2), in ASCII."""

MAX_TAG_LENGTH = 100
"""In characters (`TAG_MAX_LEN` in airflow/sdk/definitions/dag.py, 3.3.2)."""

_PRINTABLE = r"^[^\x00-\x1f\x7f]+$"

_Tag = Annotated[str, Field(pattern=_PRINTABLE, max_length=MAX_TAG_LENGTH)]
_Word = Annotated[str, Field(pattern=_PRINTABLE, max_length=250)]


class AirflowSettings(Frozen):
    """What a user may set for this target.

    Attributes:
        dag_id: The DAG's id; by default the pipeline's name.
        owner: Whom Airflow names as owner of the tasks; by default Airflow's own default.
        tags: Labels in the list of DAGs, beside `xcs`.
        max_active_runs: How many runs may go on at a time.
        max_active_tasks: How many tasks and shards of a run may go on at a time; by default Airflow's own default, 16.
        pools: Model provider to the Airflow pool in which tasks that call it wait for a slot. The pools must exist: a task of a
            missing pool never starts.
        queue: The queue of the workers that run the tasks; by default Airflow's own default.
        gpu_queue: The queue of workers with a GPU, for the tasks that need one.
        executor: The executor that runs the tasks, where Airflow has several.
    """

    dag_id: Annotated[str, Field(pattern=f"^{KEY}$")] | None = None
    owner: _Word | None = None
    tags: tuple[_Tag, ...] = ()
    max_active_runs: Annotated[int, Field(ge=1)] = 1
    max_active_tasks: Annotated[int, Field(ge=1)] | None = None
    pools: dict[str, _Word] = Field(default_factory=dict)
    queue: _Word | None = None
    gpu_queue: _Word | None = None
    executor: _Word | None = None


def read_settings(settings: Mapping[str, Any]) -> AirflowSettings:
    """Check what a user set.

    Args:
        settings: The table as read.

    Raises:
        ExportError: Some of it is not valid; the error carries every finding.
    """
    try:
        return AirflowSettings.model_validate(dict(settings))
    except ValidationError as error:
        raise ExportError([_finding(problem) for problem in error.errors(include_url=False)]) from None


def _finding(problem: ErrorDetails) -> Finding:
    name = ".".join(map(str, problem["loc"]))
    if problem["type"] == "extra_forbidden":
        return Finding.of("XCS503", target=NAME, name=name, reason="there is no such setting", known=AirflowSettings.model_fields)
    return Finding.of("XCS503", target=NAME, name=name, reason=problem["msg"])
