"""What a run measured becomes part of a profile, with what had been expected of it.

It knows how books, plan and graph come together; it does not know what a profile is used for.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from xcs_airflow.cost.profile import Profile, RunProfile
from xcs_airflow.ir.llm_ops import LLMOperation
from xcs_airflow.plan.profile_use import expectations, expected_total

if TYPE_CHECKING:
    from xcs_airflow.ir.graph import Graph
    from xcs_airflow.plan.cloud_graph import CloudGraph
    from xcs_airflow.runtime.runs import Run
    from xcs_airflow.runtime.settings import RuntimeSettings


def add_run(place: Path, plan: CloudGraph, traced: Graph, settings: RuntimeSettings, run_id: str, seconds: float | None) -> None:
    """Add a run that has just ended to a profile.

    Args:
        place: The profile.
        plan: What was expected of it.
        traced: The pipeline as written, which tells the code of functions that write prompts.
        settings: Where its books are.
        run_id: The run.
        seconds: How long it took; None when it had begun before.

    Raises:
        XcsError: The profile or the store cannot be used.
    """
    from xcs_airflow.runtime.measuring import measured_operations  # noqa: PLC0415
    from xcs_airflow.runtime.pricing import price_of  # noqa: PLC0415
    from xcs_airflow.runtime.runs import Run  # noqa: PLC0415
    from xcs_airflow.runtime.store import open_store  # noqa: PLC0415

    run = Run.named(plan.name, run_id)
    measured, _ = measured_operations(open_store(settings.store), price_of(settings.prices), run)
    codes = {operation.id: operation.code for operation in traced if isinstance(operation, LLMOperation)}
    told = RunProfile(
        run_id=run_id,
        ended=_moment(datetime.now(UTC).timestamp()),
        seconds=None if seconds is None else round(seconds, 3),
        operations={name: did.model_copy(update={"code": codes.get(name)}) for name, did in measured.items()},
        expected=expectations(plan),
        expected_total=expected_total(plan),
    )
    Profile.of_run(plan.name, told).add_to(place)


def add_earlier_run(place: Path, run: Run, settings: RuntimeSettings) -> None:
    """Add an earlier run to a profile, from what is left of it in its store. Nobody knows what had been expected of it.

    Args:
        place: The profile.
        run: Which run, as the store lists it.
        settings: Where its books are.

    Raises:
        XcsError: The profile or the store cannot be used.
    """
    from xcs_airflow.runtime.measuring import measured_operations  # noqa: PLC0415
    from xcs_airflow.runtime.pricing import price_of  # noqa: PLC0415
    from xcs_airflow.runtime.store import open_store  # noqa: PLC0415

    measured, used = measured_operations(open_store(settings.store), price_of(settings.prices), run)
    ended = run.changed if used.period is None else used.period.end
    Profile.of_run(run.pipeline, RunProfile(run_id=run.run_id, ended=_moment(ended), operations=measured)).add_to(place)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
