"""`xcs runs`: what earlier runs used, cost, saved and wasted, from the books in their store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xcs_airflow.cli import stages
from xcs_airflow.cli.console import Command, prices_option, progress, say, show, show_json
from xcs_airflow.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from xcs_airflow.runtime.runs import Output, Run
    from xcs_airflow.runtime.settings import RuntimeSettings
    from xcs_airflow.runtime.usage import RunUsage

EXAMPLES = (
    "xcs runs",
    "xcs runs triage",
    "xcs runs 20261122-103044-48f2",
    "xcs runs scheduled__2026-11-22 --pipeline triage --outputs",
    "xcs runs --store s3://bucket/xcs --format focus > costs.csv",
    "xcs runs triage --store s3://bucket/xcs --limit 10 --write-profile profile.json",
)

_SHOWN = 20


@click.command("runs", cls=Command, examples=EXAMPLES)
@click.argument("name", metavar="PIPELINE|RUN", required=False)
@click.option("--pipeline", metavar="NAME", help="Only runs of this pipeline; then what else is named is a run.")
@click.option("--store", metavar="PLACE", help="Folder or address of results and books.  [default: .xcs/store; env: XCS_STORE]")
@click.option("-n", "--limit", type=click.IntRange(1), metavar="N", help=f"Only the newest N.  [default: {_SHOWN} as text, otherwise all]")
@click.option("--outputs", is_flag=True, help="Also what the steps of the run left behind, with checksums.")
@click.option(
    "--write-profile",
    "profile",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Add what these runs measured to a profile, for the next plan.",
)
@prices_option
@click.option(
    "--format",
    type=click.Choice(["text", "json", "focus"]),
    default="text",
    show_default=True,
    help="For people, for programs, or as CSV with the columns of FOCUS, the FinOps specification.",
)
def runs(  # noqa: PLR0913  # one for each option
    name: str | None,
    *,
    pipeline: str | None,
    store: str | None,
    limit: int | None,
    outputs: bool,
    profile: Path | None,
    prices: str | None,
    format: str,  # noqa: A002  # the option's name
) -> None:
    """Show what runs used, cost, saved and wasted.

    Lists the runs of a store, newest first, or one run by operation, model and mechanism. Reads the store and nothing else, so it
    can be asked while a run is at work. A call whose outcome nobody knows is shown as possibly billed.
    """
    from xcs_airflow.cli.measure import add_earlier_run  # noqa: PLC0415
    from xcs_airflow.runtime.pricing import price_of  # noqa: PLC0415
    from xcs_airflow.runtime.settings import RuntimeSettings  # noqa: PLC0415
    from xcs_airflow.runtime.store import open_store  # noqa: PLC0415
    from xcs_airflow.runtime.usage import usage_in  # noqa: PLC0415

    given = {"store": store, "prices": prices or stages.settings_here().prices}
    settings = RuntimeSettings.from_environment(dict(os.environ), **given)
    opened, price = open_store(settings.store), price_of(settings.prices)
    with progress() as report:
        report(f"looking for runs in {settings.store}")
        chosen, is_one = _chosen(settings, name, pipeline)
        if outputs and (not is_one or format == "focus"):
            reason = "it is about one run, as text or JSON"
            raise ConfigError.because("XCS805", name="--outputs", reason=reason, nearest="name the run")
        if not is_one:
            chosen = chosen[: limit or (_SHOWN if format == "text" else None)]
        used = []
        for run in chosen:
            report(f"reading the books of {run.run_id}")
            used.append(usage_in(opened, price, run))
            if profile is not None:
                add_earlier_run(profile, run, settings)
        left = list(_outputs(settings, chosen[0])) if outputs else None
    if format == "focus":
        from xcs_airflow.cli.focus import focus_csv  # noqa: PLC0415

        show(focus_csv(zip(chosen, used, strict=True)).rstrip("\n"))
    elif format == "json":
        documents = [_as_json(run, usage) for run, usage in zip(chosen, used, strict=True)]
        show_json(_one_as_json(documents[0], left) if is_one else {"runs": documents})
    else:
        _show_text(settings.store, list(zip(chosen, used, strict=True)), left, is_one=is_one)


def _chosen(settings: RuntimeSettings, name: str | None, pipeline: str | None) -> tuple[list[Run], bool]:
    """The runs that are meant, and whether it is one that was named."""
    from xcs_airflow.runtime.runs import all_runs, runs_of, the_run  # noqa: PLC0415
    from xcs_airflow.runtime.store import open_store  # noqa: PLC0415

    known = all_runs(open_store(settings.store), pipeline)
    if name is None:
        return known, False
    of_pipeline = runs_of(known, name) if pipeline is None else []
    return (of_pipeline, False) if of_pipeline else ([the_run(known, name, settings.store)], True)


def _outputs(settings: RuntimeSettings, run: Run) -> Iterator[Output]:
    from xcs_airflow.runtime.runs import outputs_of  # noqa: PLC0415
    from xcs_airflow.runtime.store import open_store  # noqa: PLC0415

    return outputs_of(open_store(settings.store), run)


def _as_json(run: Run, used: RunUsage) -> dict[str, Any]:
    from xcs_airflow.cli.runs_text import moment  # noqa: PLC0415

    period = used.period
    return {
        **used.to_dict(),
        "changed": moment(run.changed),
        "began": None if period is None else moment(period.begin),
        "ended": None if period is None else moment(period.end),
        "finished_steps": run.finished_steps,
        "attempts": used.attempts,
        "open_attempts": used.open_attempts,
    }


def _one_as_json(document: dict[str, Any], outputs: Iterable[Output] | None) -> dict[str, Any]:
    return document if outputs is None else {**document, "outputs": [output.to_dict() for output in outputs]}


def _show_text(store: str, found: Sequence[tuple[Run, RunUsage]], outputs: Sequence[Output] | None, *, is_one: bool) -> None:
    from xcs_airflow.cli.runs_text import print_outputs, print_run, print_runs  # noqa: PLC0415

    if is_one:
        show(print_run(*found[0]))
        if outputs is not None:
            show(f"\n{print_outputs(outputs)}")
    elif found:
        show(print_runs(found))
    else:
        say(f"there are no runs in {store}")
