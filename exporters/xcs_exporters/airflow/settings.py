"""`[tool.xcs.targets.airflow]`: what a user may set for this target.

It knows the settings and their limits; it does not know plans.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

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
