"""The way of a pipeline through the stages, as every command goes it: settings, load, passes, plan, bundle.

It knows the order; what a stage does is the stage's own. Everything heavy is imported when its stage is reached.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from xcs_airflow.cli.console import NO_PROFILE
from xcs_airflow.errors import ConfigError, ExportError, Finding, XcsError
from xcs_airflow.garbage import GRAPHS, collected_seldom

if TYPE_CHECKING:
    from xcs_airflow.cost.simulation import RateLimit
    from xcs_airflow.exporting.bundle import Bundle
    from xcs_airflow.exporting.image import Image
    from xcs_airflow.exporting.settings import ProjectSettings
    from xcs_airflow.ir.graph import Graph
    from xcs_airflow.plan.cloud_graph import CloudGraph
    from xcs_airflow.plan.frontier import Plan


_PROFILE = "profile.json"


class Pipeline(Protocol):
    """What a PIPELINE on the command line becomes."""

    @property
    def name(self) -> str:
        """The pipeline's name."""
        ...

    @property
    def root(self) -> Path:
        """The folder its modules are imported from."""
        ...

    def graph(self) -> Graph:
        """Its graph, as written."""
        ...

    def code(self) -> Mapping[str, bytes]:
        """The modules and data files that its workers need, by path."""
        ...


@dataclass(frozen=True)
class GraphFile:
    """A pipeline that was written as JSON: it brings no code along."""

    _graph: Graph = field(repr=False)

    @property
    def name(self) -> str:
        """The graph's name."""
        return self._graph.name

    @property
    def root(self) -> Path:
        """The folder that xcs runs in."""
        return Path.cwd()

    def graph(self) -> Graph:
        """The graph as read."""
        return self._graph

    def code(self) -> Mapping[str, bytes]:
        """Nothing: its functions are installed in the image."""
        return {}


def settings_here() -> ProjectSettings:
    """The settings of the folder that xcs runs in."""
    from xcs_airflow.exporting.settings import load_settings  # noqa: PLC0415

    return load_settings(Path.cwd(), os.environ)


def specs_or_configured(specs: Sequence[str], settings: ProjectSettings) -> tuple[str, ...]:
    """The pipelines named on the command line, or else the configured ones.

    Raises:
        ConfigError: There are neither (XCS802).
    """
    chosen = tuple(dict.fromkeys(specs)) or settings.pipelines
    if not chosen:
        raise ConfigError.because("XCS802")
    return chosen


def the_one_spec(spec: str | None, settings: ProjectSettings) -> str:
    """The pipeline named on the command line, or else the only configured one.

    Raises:
        ConfigError: It is not clear which (XCS802, XCS805).
    """
    chosen = specs_or_configured([spec] if spec else [], settings)
    if len(chosen) > 1:
        raise ConfigError.because("XCS805", name="PIPELINE", reason="several are configured, name one of them", known=chosen)
    return chosen[0]


def profile_place(given: str | None, settings: ProjectSettings) -> Path | None:
    """The profile that is used; None when none is.

    Args:
        given: What stands on the command line, as `profile_option` gives it.
        settings: The project's.
    """
    return None if given == NO_PROFILE else Path(given or settings.profile or _PROFILE)


def known_target(name: str | None) -> str | None:
    """The target itself, if an exporter has this name or there is none to look for.

    Raises:
        ExportError: No exporter is called so.
    """
    from xcs_airflow.exporting.registry import load_exporter  # noqa: PLC0415

    return None if name is None else load_exporter(name).name


def load(spec: str) -> Pipeline:
    """The pipeline of a PIPELINE argument: `file.py:function`, `package.module:function`, or a graph as JSON.

    Raises:
        XcsError: There is none, importing it fails, or the document is not a graph.
    """
    if spec.endswith(".json"):
        return GraphFile(_read_graph(spec))
    from xcs_airflow.authoring.load import load_pipeline  # noqa: PLC0415

    with quiet_stdout():
        return load_pipeline(spec)


def quiet_stdout() -> AbstractContextManager[object]:
    """While users' code runs: what it prints goes to stderr, so that stdout holds the result and nothing else."""
    return redirect_stdout(sys.stderr)


def _read_graph(spec: str) -> Graph:
    from xcs_airflow.ir.serde import loads  # noqa: PLC0415

    try:
        return loads(Path(spec).read_bytes())
    except OSError as error:
        raise ConfigError.because("XCS801", spec=spec, reason=error.strerror or str(error)) from None


@dataclass(frozen=True)
class Planned:
    """A pipeline with its plan.

    Attributes:
        pipeline: What was planned.
        plan: The plan.
        warnings: What went wrong with passes.
    """

    pipeline: Pipeline
    plan: CloudGraph
    warnings: tuple[Finding, ...] = ()


def compile_pipeline(
    spec: str,
    prices: str | None,
    profile: Path | None = None,
    *,
    is_optimised: bool = True,
    target: str | None = None,
    limits: Mapping[str, RateLimit] | None = None,
) -> Planned:
    """A PIPELINE argument, all the way to its plan.

    Args:
        spec: What stands on the command line.
        prices: Path of a price file.
        profile: What earlier runs measured, if the file is there.
        is_optimised: Whether the passes run.
        target: For which platform; None for all alike.
        limits: What model providers allow.

    Raises:
        XcsError: Something about it is wrong.
    """
    return Source(spec, prices, profile, limits).planned(target, is_optimised=is_optimised)


class Source:
    """A pipeline that is traced once and planned for each of its targets.

    Args:
        spec: What stands on the command line.
        prices: Path of a price file.
        profile: What earlier runs measured, if the file is there.
        limits: What model providers allow.

    Attributes:
        pipeline: What it names.
        traced: Its graph, as written.

    Raises:
        XcsError: There is no such pipeline, or its price file or its profile is not valid.
    """

    @collected_seldom(GRAPHS)
    def __init__(self, spec: str, prices: str | None, profile: Path | None = None, limits: Mapping[str, RateLimit] | None = None) -> None:
        from xcs_airflow.cost.prices import PriceBook  # noqa: PLC0415
        from xcs_airflow.cost.profile import Profile  # noqa: PLC0415
        from xcs_airflow.passes.shared import Shared  # noqa: PLC0415

        self.pipeline = load(spec)
        with quiet_stdout():
            self.traced = self.pipeline.graph()
        self._prices = PriceBook.load(None if prices is None else Path(prices))
        self._limits = dict(limits or {})
        self._profile = None if profile is None else Profile.load(profile).pipelines.get(self.traced.name)
        self._shared = Shared()

    @collected_seldom(GRAPHS)
    def planned(self, target: str | None = None, *, is_optimised: bool = True) -> Planned:
        """Its plan for a target, or for all alike.

        Args:
            target: The name of an exporter.
            is_optimised: Whether the passes run.

        Raises:
            XcsError: Something about it is wrong.
        """
        from xcs_airflow.passes import LLMGraphEnhancer, PassContext  # noqa: PLC0415
        from xcs_airflow.plan import CloudExporter  # noqa: PLC0415

        graph = self.traced
        context = PassContext(
            prices=self._prices,
            policy=graph.policy,
            profile=self._profile,
            target=target,
            limits=self._limits,
            shared=self._shared,
        )
        if is_optimised:
            graph = LLMGraphEnhancer(prices=self._prices, profile=self._profile).enhance(graph, context)
        figures = context.estimate(graph).whole if is_optimised else None
        exporter = CloudExporter(self._prices, self._profile, target=target, limits=self._limits)
        return Planned(self.pipeline, exporter.export(graph, figures), tuple(context.findings))

    def frontier(self, target: str | None = None) -> tuple[Plan, ...]:
        """The plans among which its cost and its time leave a choice.

        Args:
            target: The name of an exporter; None for all alike.

        Raises:
            XcsError: Something about it is wrong.
        """
        from xcs_airflow.passes import LLMGraphEnhancer  # noqa: PLC0415
        from xcs_airflow.plan import CloudExporter  # noqa: PLC0415
        from xcs_airflow.plan.frontier import frontier  # noqa: PLC0415

        enhancer = LLMGraphEnhancer(prices=self._prices, profile=self._profile, target=target, limits=self._limits)
        return frontier(self.traced, enhancer, CloudExporter(self._prices, self._profile, target=target, limits=self._limits))


@dataclass(frozen=True)
class Rendered:
    """A bundle that its target accepts.

    Attributes:
        plan: What was rendered.
        target: For which platform.
        bundle: The files.
        warnings: What is worth knowing.
    """

    plan: CloudGraph
    target: str
    bundle: Bundle
    warnings: tuple[Finding, ...] = ()

    def folder(self, output: Path) -> Path:
        """Where it is written, below the folder of all bundles."""
        return output / self.target / self.plan.name


@collected_seldom(GRAPHS)
def render(planned: Planned, target: str, settings: ProjectSettings, code: Mapping[str, bytes], image: Image) -> Rendered:
    """The bundle of a plan for one target, looked over by the exporter's own check.

    Raises:
        ExportError: There is no such target, a setting is not valid, or the platform would refuse the files.
    """
    from xcs_airflow.exporting.assemble import assemble  # noqa: PLC0415
    from xcs_airflow.exporting.registry import load_exporter  # noqa: PLC0415

    exporter = load_exporter(target)
    bundle = assemble(planned.plan, exporter, settings.targets.get(target, {}), code, image=image)
    findings = exporter.check(bundle)
    if any(finding.severity == "error" for finding in findings):
        raise ExportError(findings)
    return Rendered(planned.plan, target, bundle, (*planned.warnings, *findings))


class Collector:
    """Lets a command go on after an error, so that it ends with every finding and not the first."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def __enter__(self) -> None:
        """Nothing is bound: use it again and again."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, XcsError):
            return False
        self.add(error.findings)
        return True

    def add(self, findings: Iterable[Finding]) -> None:
        """Keep findings, each once."""
        self.findings += [finding for finding in findings if finding not in self.findings]

    @property
    def errors(self) -> list[Finding]:
        """The findings that stop the work."""
        return [finding for finding in self.findings if finding.severity == "error"]

    def raise_errors(self) -> None:
        """End here if anything was found that stops the work."""
        if self.errors:
            raise XcsError(self.findings)
