"""`xcs check`: everything that can be found out about pipelines before they run, as exit code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from xcs_airflow.cli import stages
from xcs_airflow.cli.console import (
    Command,
    exit_code,
    format_option,
    prices_option,
    profile_option,
    progress,
    show,
    show_findings,
    show_json,
)
from xcs_airflow.exporting.image import Image
from xcs_airflow.garbage import GRAPHS, collected_seldom

if TYPE_CHECKING:
    from xcs_airflow.exporting.settings import ProjectSettings

EXAMPLES = (
    "xcs check pipeline.py:triage",
    "xcs check pipeline.py:triage --target aws-batch --target airflow",
    "xcs check --format json",
)


@click.command("check", cls=Command, examples=EXAMPLES)
@click.argument("pipelines", metavar="[PIPELINE]...", nargs=-1)
@click.option(
    "-t",
    "--target",
    "targets",
    metavar="TARGET",
    multiple=True,
    help="Check for this platform, too; may be repeated. Default: every table of [tool.xcs.targets].",
)
@prices_option
@profile_option
@format_option
def check(
    pipelines: tuple[str, ...],
    targets: tuple[str, ...],
    prices: str | None,
    profile: str | None,
    format: str,  # noqa: A002  # the option's name
) -> int:
    """Find what is wrong before a run does.

    Traces and verifies each pipeline, plans it, holds the plan against its budget and deadline, and asks every target whether it
    could run it. Calls no model and writes nothing. Exit code 1 means that there are errors; warnings alone do not count.
    """
    settings = stages.settings_here()
    specs = stages.specs_or_configured(pipelines, settings)
    names = tuple(dict.fromkeys(targets)) or settings.target_names
    found = stages.Collector()
    place = stages.profile_place(profile, settings)
    checked: list[dict[str, object]] = []
    with progress() as report:
        for spec in specs:
            report(f"checking {spec}")
            with found:
                checked.append(_check(stages.Source(spec, prices or settings.prices, place, settings.limits), names, settings, found))
    if format == "json":
        show_json({"pipelines": checked, "findings": [finding.to_dict() for finding in found.findings]})
    else:
        show_findings(found.findings, format)
        if not found.errors:
            for facts in checked:
                show("{pipeline}: ok, {operations} operations in {tasks} tasks".format_map(facts) + _for(names))
    return exit_code(found.findings)


@collected_seldom(GRAPHS)
def _check(source: stages.Source, targets: Sequence[str], settings: ProjectSettings, found: stages.Collector) -> dict[str, object]:
    from xcs_airflow.plan.gates import gate  # noqa: PLC0415

    planned = source.planned()
    plan = planned.plan
    found.add([*planned.warnings, *gate(plan)])
    code = planned.pipeline.code()
    for target in targets:
        with found:
            found.add(stages.render(source.planned(target), target, settings, code, Image()).warnings)
    return {"pipeline": plan.name, "operations": len(plan.operations), "tasks": len(plan.tasks), "targets": list(targets)}


def _for(targets: Sequence[str]) -> str:
    return f", for {', '.join(targets)}" if targets else ""
