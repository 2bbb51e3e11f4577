"""`xcs plan`: what a pipeline would do and cost, without doing it."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
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
    say_finding,
    show,
    show_json,
    target_option,
)

if TYPE_CHECKING:
    from xcs_airflow.plan.frontier import Plan

EXAMPLES = (
    "xcs plan pipeline.py:triage",
    "xcs plan pipeline.py:triage --no-passes",
    "xcs plan pipeline.py:triage --max-cost 5 --format json",
    "xcs plan pipeline.py:triage --frontier",
    "xcs plan pipeline.py:triage --frontier --target aws-batch",
)


def _us_dollars(_: click.Context, __: click.Parameter, value: str | None) -> Decimal | None:
    if value is None:
        return None
    try:
        amount = Decimal(value.removesuffix("USD").strip())
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or amount < 0:
        raise click.BadParameter(f"{value!r} is not an amount, as in 5 or 0.25")
    return amount


@click.command("plan", cls=Command, examples=EXAMPLES)
@click.argument("pipeline", required=False)
@click.option(
    "--passes/--no-passes", "is_optimised", default=True, help="Run the passes, or plan the pipeline as written.  [default: passes]"
)
@click.option("--max-cost", metavar="USD", callback=_us_dollars, help="End with exit code 1 if a run is expected to cost more.")
@click.option("--frontier", "is_frontier", is_flag=True, help="Show the plans between which only a preference for money or time decides.")
@target_option
@prices_option
@profile_option
@format_option
def plan(  # noqa: PLR0913  # one for each option
    pipeline: str | None,
    max_cost: Decimal | None,
    target: str | None,
    prices: str | None,
    profile: str | None,
    format: str,  # noqa: A002  # the option's name
    *,
    is_optimised: bool,
    is_frontier: bool,
) -> int:
    """Show what a run would do and cost.

    Asks no model and writes nothing. The JSON form is the plan.json that bundles hold, if the target is named.
    """
    from xcs_airflow.plan.gates import gate  # noqa: PLC0415
    from xcs_airflow.plan.text import print_plan  # noqa: PLC0415

    settings = stages.settings_here()
    spec = stages.the_one_spec(pipeline, settings)
    if is_frontier:
        if max_cost is not None or not is_optimised:
            raise click.UsageError("--frontier compares optimised plans, whatever they cost: leave --max-cost and --no-passes out")
        with progress() as report:
            report(f"planning {spec} in several ways")
            source = stages.Source(spec, prices or settings.prices, stages.profile_place(profile, settings), settings.limits)
            target = stages.known_target(target)
            plans = source.frontier(target)
        _show_frontier(source.traced.name, plans, target, format)
        return 0
    with progress() as report:
        report(f"planning {spec}")
        planned = stages.compile_pipeline(
            spec,
            prices or settings.prices,
            stages.profile_place(profile, settings),
            is_optimised=is_optimised,
            target=stages.known_target(target),
            limits=settings.limits,
        )
    findings = [*planned.warnings, *gate(planned.plan, max_cost)]
    show(planned.plan.to_json().rstrip("\n") if format == "json" else print_plan(planned.plan))
    for finding in findings:
        say_finding(finding)
    return exit_code(findings) if max_cost is not None else 0


def _show_frontier(name: str, plans: Sequence[Plan], target: str | None, format: str) -> None:  # noqa: A002  # the option's name
    from xcs_airflow.plan.frontier_text import print_frontier  # noqa: PLC0415

    if format == "json":
        show_json({"pipeline": name, "target": target, "plans": [found.to_dict() for found in plans]})
    else:
        show(print_frontier(name, plans, target))
