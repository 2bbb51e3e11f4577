"""`xcs-export`: pipelines become folders of files for their platforms.

It knows the command line and the order of work; nothing is written before everything is known to be writable.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xcs_airflow.cli import stages
from xcs_airflow.cli.console import Command, format_option, prices_option, profile_option, progress, show, show_findings, show_json
from xcs_airflow.cli.stages import Rendered
from xcs_airflow.errors import ExportError, Finding
from xcs_airflow.garbage import GRAPHS, collected_seldom

if TYPE_CHECKING:
    from xcs_airflow.exporting.settings import ProjectSettings
    from xcs_airflow.exporting.writer import WriteReport

EXAMPLES = (
    "xcs-export pipeline.py:triage --target airflow",
    "xcs-export pipeline.py:triage -t aws-batch -t cloud-run -o build/out",
    "xcs-export --target airflow --dry-run",
)


@click.command("xcs-export", cls=Command, examples=EXAMPLES)
@click.argument("pipelines", metavar="[PIPELINE]...", nargs=-1)
@click.option(
    "-t",
    "--target",
    "targets",
    metavar="TARGET",
    multiple=True,
    help="airflow, aws-batch, cloud-run or the name of a plugin's exporter; may be repeated. Default: every table of [tool.xcs.targets].",
)
@click.option("-o", "--output", metavar="DIR", type=click.Path(), help="Where bundles go.  [default: build/xcs; env: XCS_OUTPUT]")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be written, and write nothing.")
@prices_option
@profile_option
@format_option
def export(
    pipelines: tuple[str, ...],
    targets: tuple[str, ...],
    output: str | None,
    prices: str | None,
    profile: str | None,
    format: str,  # noqa: A002  # the option's name
    *,
    dry_run: bool,
) -> None:
    """Write pipelines as files for Airflow, AWS Batch or Cloud Run.

    A PIPELINE is path/to/file.py:function, package.module:function, or a graph as JSON. Without one, those under [tool.xcs] in
    pyproject.toml are exported. Each becomes a folder DIR/TARGET/NAME; files there that xcs-export did not write are never touched.
    """
    settings = stages.settings_here()
    specs = stages.specs_or_configured(pipelines, settings)
    names = tuple(dict.fromkeys(targets)) or settings.target_names
    if not names:
        raise click.UsageError("name a target, as in: --target airflow")
    folder = Path(output or settings.output)
    rendered = _render_all(specs, names, settings, prices or settings.prices, stages.profile_place(profile, settings))
    reports = _write_all(rendered, folder, dry_run=dry_run)
    warnings = _warnings(rendered)
    if format == "json":
        bundles = [_as_json(item, report, folder) for item, report in zip(rendered, reports, strict=True)]
        show_json({"dry_run": dry_run, "bundles": bundles, "findings": [finding.to_dict() for finding in warnings]})
    else:
        show_findings(warnings, format)
        _show_all(rendered, reports, folder, dry_run=dry_run)


def command() -> click.Command:
    """The command, for the reference in docs/cli.md."""
    return export


def main() -> None:
    """The script `xcs-export`."""
    export(prog_name="xcs-export")


@collected_seldom(GRAPHS)
def _render_all(
    specs: Sequence[str], targets: Sequence[str], settings: ProjectSettings, prices: str | None, profile: Path | None
) -> list[Rendered]:
    """Every pipeline for every target; all that is wrong with any of them is one error."""
    image = settings.image.read()
    found = stages.Collector()
    rendered: list[Rendered] = []
    spec_of: dict[str, str] = {}
    with progress() as report:
        for spec in specs:
            report(f"planning {spec}")
            with found:
                source = stages.Source(spec, prices, profile, settings.limits)
                name = source.pipeline.name
                if spec_of.setdefault(name, spec) != spec:
                    raise ExportError.because("XCS514", name=name, places=f"{spec_of[name]} and {spec}")
                code = source.pipeline.code()
                for target in targets:
                    with found:
                        rendered.append(stages.render(source.planned(target), target, settings, code, image))
    found.raise_errors()
    return rendered


def _write_all(rendered: Sequence[Rendered], output: Path, *, dry_run: bool) -> list[WriteReport]:
    """Write every bundle, or none if anything is in the way of one."""
    from xcs_airflow.exporting.portable import why_unportable  # noqa: PLC0415
    from xcs_airflow.exporting.writer import write_bundle  # noqa: PLC0415

    found = stages.Collector()
    reports: list[WriteReport] = []
    for item in rendered:
        with found:
            reason = why_unportable(item.plan.name)
            if reason:
                raise ExportError.because("XCS510", path=item.plan.name, reason=reason, place=item.plan.source)
            reports.append(write_bundle(item.bundle, item.folder(output), dry_run=True))
    found.raise_errors()
    return reports if dry_run else [write_bundle(item.bundle, item.folder(output)) for item in rendered]


def _show_all(rendered: Sequence[Rendered], reports: Sequence[WriteReport], output: Path, *, dry_run: bool) -> None:
    from xcs_airflow.plan.text import cost_sentence  # noqa: PLC0415

    shown: set[str] = set()
    for item, report in zip(rendered, reports, strict=True):
        if item.plan.name not in shown:
            shown.add(item.plan.name)
            show(f"{item.plan.name}: {cost_sentence(item.plan.totals.cost_usd)}")
        show(f"  {item.folder(output).as_posix()}: {_counts(report, dry_run=dry_run)}")
        if dry_run:
            for verb, paths in (("create", report.created), ("change", report.changed), ("remove", report.removed)):
                for path in paths:
                    show(f"    {verb} {path}")


def _counts(report: WriteReport, *, dry_run: bool) -> str:
    if report.is_same:
        return f"{len(report.unchanged)} files, all as they were"
    counts = [(len(getattr(report, name)), name) for name in ("created", "changed", "unchanged", "removed")]
    (first, verb), *rest = [(count, name) for count, name in counts if count]
    others = "".join(f", {count} {name}" for count, name in rest)
    return f"{first} {'file' if first == 1 else 'files'} {'would be ' if dry_run else ''}{verb}{others}"


def _as_json(item: Rendered, report: WriteReport, output: Path) -> dict[str, object]:
    return {"pipeline": item.plan.name, "target": item.target, "folder": item.folder(output).as_posix(), **asdict(report)}


def _warnings(rendered: Iterable[Rendered]) -> list[Finding]:
    """What is worth knowing. A budget that is not kept is, too: it stops `xcs check`, not an export."""
    from xcs_airflow.plan.gates import gate  # noqa: PLC0415

    gates = [replace(finding, severity="warning") for item in rendered for finding in gate(item.plan)]
    return list(dict.fromkeys([*gates, *(finding for item in rendered for finding in item.warnings)]))
