"""`xcs run`: a pipeline, here and now, with the passes, the cache and the books of an exported one."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from xcs_airflow.cli import stages
from xcs_airflow.cli.console import Command, format_option, prices_option, profile_option, progress, say, say_finding, show, show_json
from xcs_airflow.cli.given import pairs, parameters, runtime_settings
from xcs_airflow.errors import XcsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pydantic import JsonValue

    from xcs_airflow.ir.graph import Graph
    from xcs_airflow.manifest import Task
    from xcs_airflow.plan.cloud_graph import CloudGraph
    from xcs_airflow.runtime import RunUsage
    from xcs_airflow.runtime.settings import RuntimeSettings

EXAMPLES = (
    "xcs run pipeline.py:triage",
    "xcs run pipeline.py:triage --param path=today.jsonl",
    "xcs run pipeline.py:triage --models models.json",
)


@click.command("run", cls=Command, examples=EXAMPLES)
@click.argument("pipeline", required=False)
@click.option("-p", "--param", "texts", metavar="NAME=VALUE", multiple=True, callback=pairs, help="A parameter: text, or JSON.")
@click.option("--run-id", metavar="NAME", help="Names the run; the same name again goes on where it ended.  [default: a new name]")
@click.option("--store", metavar="PLACE", help="Folder or address of results and books.  [default: .xcs/store; env: XCS_STORE]")
@click.option("--cache", metavar="PLACE", help="Where answers are remembered, or off.  [default: beside the store; env: XCS_CACHE]")
@click.option("--models", metavar="JSON|FILE", help="Where calls go, by provider or model.  [env: XCS_MODELS]")
@prices_option
@profile_option
@format_option
def run(  # noqa: PLR0913  # one for each option
    pipeline: str | None,
    texts: Mapping[str, str],
    *,
    run_id: str | None,
    store: str | None,
    cache: str | None,
    models: str | None,
    prices: str | None,
    profile: str | None,
    format: str,  # noqa: A002  # the option's name
) -> None:
    """Run a pipeline on this machine.

    Its value goes to stdout; what was estimated and what was used goes to stderr. Answers are remembered, so running it again
    asks models only what is new. What was measured is added to the profile, for the next plan.
    """
    project = stages.settings_here()
    prices = prices or project.prices
    place = stages.profile_place(profile, project)
    source = stages.Source(stages.the_one_spec(pipeline, project), prices, place, project.limits)
    planned = source.planned()
    for finding in planned.warnings:
        say_finding(finding)
    given = {"store": store, "cache": cache, "prices": prices, "code": planned.pipeline.root}
    running = _Run(
        planned.plan,
        runtime_settings(given, models),
        run_id or f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}",
        parameters(planned.plan.parameters, texts),
    )
    output = running.run()
    if place is not None:
        running.measure(source.traced, place)
    if format == "json":
        show_json({**running.usage().to_dict(), "output": output})
    else:
        from xcs_airflow.canonical import pretty_json  # noqa: PLC0415

        show(output if isinstance(output, str) else pretty_json(output).rstrip("\n"))


@dataclass(frozen=True)
class _Run:
    """One start of a run, its books and what is said about it."""

    plan: CloudGraph
    settings: RuntimeSettings
    run_id: str
    parameters: Mapping[str, JsonValue]
    _done: list[str] = field(default_factory=list)
    _seconds: list[float] = field(default_factory=list)

    def run(self) -> Any:
        """The pipeline's value."""
        from xcs_airflow.jit.executor import LLMOptimizedExecutor  # noqa: PLC0415

        with self._summary(), progress() as report, stages.quiet_stdout():

            def tell(task: Task, shard: int, _: object) -> None:
                self._done.append(task.id)
                of = f" shard {shard + 1} of {task.shards}" if task.shards > 1 else ""
                report(f"{len(self._done)} of {self.plan.totals.starts} starts done: {task.id}{of}")

            def wait(task: Task, _: int, reason: str) -> None:
                report(f"{len(self._done)} of {self.plan.totals.starts} starts done, waiting for {task.part_of}: {reason}")

            report(f"running {self.plan.name}, {self.plan.totals.starts} starts of tasks")
            executor = LLMOptimizedExecutor(self.plan.manifest, self.settings, tell, wait)
            is_new, began = self._is_new(), time.monotonic()
            output = executor.run(self.run_id, self.parameters)
            if is_new:
                self._seconds.append(time.monotonic() - began)
            return output

    def _is_new(self) -> bool:
        """Whether nothing of the run is in the store, so that how long it takes from now on is how long it takes."""
        from xcs_airflow.runtime.results import run_folder  # noqa: PLC0415
        from xcs_airflow.runtime.store import open_store  # noqa: PLC0415

        return next(open_store(self.settings.store).list(run_folder(self.plan.name, self.run_id)), None) is None

    def measure(self, traced: Graph, place: Path) -> None:
        """Add what the run measured to a profile. A run is not spoilt by a profile that cannot be written: that is a warning."""
        from xcs_airflow.cli.measure import add_run  # noqa: PLC0415

        try:
            add_run(place, self.plan, traced, self.settings, self.run_id, self._seconds[-1] if self._seconds else None)
        except XcsError as error:
            for finding in error.findings:
                say_finding(replace(finding, severity="warning"))

    def usage(self) -> RunUsage:
        """The books of the run, all its starts together."""
        from xcs_airflow.runtime import run_usage  # noqa: PLC0415

        return run_usage(self.settings, self.plan.name, self.run_id)

    @contextmanager
    def _summary(self) -> Iterator[None]:
        """Say at the end what the run used, and how to go on if it did not come to its end."""
        from xcs_airflow.cli.run_summary import print_summary  # noqa: PLC0415

        began = time.monotonic()

        def text() -> str:
            return print_summary(self.plan.totals, self.usage().total, time.monotonic() - began)

        try:
            yield
        except BaseException:
            say(f"run {self.run_id} has not come to its end; the same command with --run-id {self.run_id} goes on with it")
            with suppress(XcsError):  # what went wrong matters more than books that cannot be read
                say(text())
            raise
        say(f"run {self.run_id}\n{text()}")
