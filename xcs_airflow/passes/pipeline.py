"""How passes run: one after the other, watched, and left out when they fail.

It knows passes as functions from graph to graph; it does not know what any of them does.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from sys import intern
from typing import Protocol

from xcs_airflow.cost.compute import Platform, platform_of
from xcs_airflow.cost.estimate import Anywhere, Estimator
from xcs_airflow.cost.figures import GraphEstimate, MeasuredOperation, Money, OperationEstimate
from xcs_airflow.cost.prices import PriceBook
from xcs_airflow.cost.profile import PipelineProfile
from xcs_airflow.cost.simulation import RateLimit
from xcs_airflow.errors import Finding, PassError, XcsError
from xcs_airflow.ir.check import errors_of
from xcs_airflow.ir.graph import Decision, Graph, PipelinePolicy
from xcs_airflow.passes.shared import Computed, Shared

EVERY_OPERATION = "*"
"""Stands in decisions that are about a graph as a whole."""


class Pass(Protocol):
    """A function from graph to graph that keeps what the graph computes.

    It returns the same object when it changes nothing and records a decision for every operation it considered. One that says
    `is_for_every_target = True` does not look at the target, and runs once for all of them.
    """

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """The rewritten graph."""


class Observer(Protocol):
    """Watches passes run."""

    def started(self, name: str, graph: Graph) -> None:
        """A pass is about to run."""

    def finished(self, name: str, before: Graph, after: Graph, decisions: Sequence[Decision]) -> None:
        """A pass has run.

        Raises:
            PassError: The result must not be used; the pass is left out.
        """


class Estimates:
    """An estimate, by operation.

    Args:
        anywhere: What a run does wherever it runs.
        platform: Where it runs; None when that is not known.
    """

    def __init__(self, anywhere: Anywhere, platform: Platform | None) -> None:
        self.anywhere = anywhere
        self._platform = platform

    @property
    def whole(self) -> GraphEstimate:
        """That of the run; it is played through when this is asked for the first time, at best, as expected and at worst."""
        return self.anywhere.on(self._platform)

    @property
    def calls_usd(self) -> Money:
        """What all calls of the run cost."""
        return self.anywhere.cost_usd

    @property
    def measured(self) -> Mapping[str, MeasuredOperation]:
        """What earlier runs measured of operations, by their ids."""
        return self.anywhere.measured

    @property
    def expected_s(self) -> float:
        """When the run is expected to have ended, in a third of the time that the whole takes."""
        return self.anywhere.makespan(self._platform).expected_s

    def __getitem__(self, operation_id: str) -> OperationEstimate:
        return self.anywhere.entries[operation_id]

    def cost_usd(self, operation_id: str) -> Decimal | None:
        """The expected cost of an operation's calls; None when it is not known, or when it makes none."""
        entry = self.anywhere.entries[operation_id]
        return entry.cost_usd.expected if entry.calls_before and entry.cost_usd.is_complete else None


@dataclass
class PassContext:
    """What passes know besides the graph, and what they leave behind.

    Attributes:
        prices: The price book; None takes that of the pinned data.
        policy: What to optimise for; None takes the graph's.
        target: For which platform, as after `--target`; None when it is not known.
        limits: What providers allow, by their names; who is not named has no limit.
        decisions: What was decided so far.
        findings: What went wrong with passes; warnings only.
        profile: What earlier runs of the pipeline measured; None when nothing was.
        shared: What it has in common with contexts for other targets, or for graphs with other policies; all else must be the same in
            them.
    """

    prices: PriceBook | None = None
    policy: PipelinePolicy | None = None
    target: str | None = None
    limits: Mapping[str, RateLimit] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    profile: PipelineProfile | None = None
    shared: Shared = field(default_factory=Shared)
    _known: list[tuple[Graph, Estimates]] = field(default_factory=list, init=False, repr=False)

    def decide(
        self,
        by: Pass,
        operation_id: str,
        reason: str,
        *,
        applied: bool,
        rule: str,
        saves_usd: Decimal | None = None,
        saves_s: float | None = None,
    ) -> None:
        """Record what a pass decided about an operation.

        Args:
            by: The pass.
            operation_id: The operation.
            reason: Why, in one sentence.
            applied: Whether the operation was changed.
            rule: Where the rule behind it comes from.
            saves_usd: Money it is expected to save per run; None when unknown.
            saves_s: Seconds it is expected to save per run; None when unknown.
        """
        seconds = None if saves_s is None else round(saves_s, 3)
        decision = Decision(
            pass_name=type(by).__name__,
            operation=operation_id,
            action="applied" if applied else "skipped",
            reason=intern(reason),  # most are given for many operations
            saves_usd=saves_usd,
            saves_s=seconds,
            rule=rule,
        )
        self.decisions.append(decision)

    def once(self, by: object, graph: Graph, compute: Callable[[], Computed]) -> Computed:
        """What is computed for a graph without a look at the target, now or for another one; what was decided then is decided again.

        Args:
            by: Who computes it; the same object computes the same.
            graph: From what.
            compute: Computes it.
        """
        mark = len(self.decisions)
        result, decided = self.shared.once(by, graph, lambda: (compute(), self.decisions[mark:]))
        self.decisions[mark:] = decided
        return result

    @property
    def price_book(self) -> PriceBook:
        """The price book that is used."""
        self.prices = self.prices or PriceBook.load()
        return self.prices

    def estimate(self, graph: Graph) -> Estimates:
        """What a run of a graph is expected to do; computed once for all graphs of the same operations."""
        for known, estimates in self._known:
            if known is graph:
                return estimates
        anywhere = self._estimator.anywhere(graph)
        same = (estimates for _, estimates in self._known if estimates.anywhere is anywhere)
        estimates = next(same, None) or Estimates(anywhere, platform_of(self.target))
        self._known.append((graph, estimates))
        return estimates

    def costs_usd(self, graph: Graph) -> Mapping[str, Decimal | None]:
        """The expected cost of the calls of every operation, and perhaps of others; computed once for a graph and its parts."""
        return self._estimator.expected_costs_usd(graph)

    @property
    def _estimator(self) -> Estimator:
        self.shared.estimator = self.shared.estimator or Estimator(self.price_book, self.profile, self.limits)
        return self.shared.estimator


def run_passes(graph: Graph, passes: Iterable[Pass], context: PassContext | None = None, observers: Sequence[Observer] = ()) -> Graph:
    """Run passes over a graph, in order.

    A pass that fails, or whose result an observer refuses, is left out: the graph stays as it was before it, its decisions are
    forgotten, and a warning is recorded in the context and as a decision.

    Args:
        graph: A well-formed graph; it is not changed.
        passes: What to run.
        context: Prices, policy and what is recorded; by default a new one.
        observers: Who watches.

    Returns:
        The rewritten graph with its decisions; the same object when nothing changed.

    Raises:
        GraphError: The graph is not well formed.
    """
    context = context or PassContext()
    first = len(context.decisions)
    current = graph
    for pass_ in passes:
        current = _run_one(pass_, current, context, observers)
    return _with_decisions(current, context.decisions[first:], is_changed=current is not graph)


def _run_one(pass_: Pass, graph: Graph, context: PassContext, observers: Sequence[Observer]) -> Graph:
    name = type(pass_).__name__
    mark = len(context.decisions)
    try:
        for observer in observers:
            observer.started(name, graph)
        result = _called(pass_, name, graph, context)
        for observer in observers:
            observer.finished(name, graph, result, context.decisions[mark:])
    except PassError as error:
        del context.decisions[mark:]
        context.findings.extend(error.findings)
        reason = "; ".join(finding.message for finding in error.findings[:3])
        context.decide(pass_, EVERY_OPERATION, reason, applied=False, rule=error.code)
        return graph
    return result


def _called(pass_: Pass, name: str, graph: Graph, context: PassContext) -> Graph:
    try:
        result = _result(pass_, graph, context)
    except XcsError:  # about the user's graph, not about the pass
        raise
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        reason = f"{type(error).__name__}: {error}"
        place = f"{Path(frame.filename).name}:{frame.lineno}"
        raise PassError([Finding.of("XCS301", name=name, reason=reason, place=place, severity="warning")]) from error
    if not isinstance(result, Graph):
        raise PassError([Finding.of("XCS302", name=name, severity="warning")])
    return result


def _result(pass_: Pass, graph: Graph, context: PassContext) -> Graph:
    """What a pass returns; one that does not look at the target runs once for all of them."""
    if not getattr(pass_, "is_for_every_target", False):
        return pass_(graph, context)
    return context.once(pass_, graph, lambda: pass_(graph, context))


def _with_decisions(graph: Graph, decided: Sequence[Decision], *, is_changed: bool) -> Graph:
    """A graph with what was decided now and before; what was applied once stays applied, whatever a later run found left to do."""
    if graph.decisions and not is_changed:
        return graph
    merged = {(decision.pass_name, decision.operation): decision for decision in graph.decisions}
    for decision in decided:
        key = (decision.pass_name, decision.operation)
        if decision.action == "applied" or key not in merged or merged[key].action == "skipped":
            merged[key] = decision
    decisions = tuple(merged.values())
    return graph if decisions == graph.decisions else graph.replace(decisions=decisions)


class Verify:
    """Refuses results that are not well formed."""

    def started(self, name: str, graph: Graph) -> None:
        """Nothing to do."""

    def finished(self, name: str, before: Graph, after: Graph, decisions: Sequence[Decision]) -> None:  # noqa: ARG002
        """Check a changed graph.

        Raises:
            PassError: It is not well formed (XCS302).
        """
        errors = [] if after is before else errors_of(after, sound=before)
        if errors:
            details = [replace(finding, severity="warning") for finding in errors]
            raise PassError([Finding.of("XCS302", name=name, severity="warning"), *details])


class Timing:
    """Measures how long each pass takes.

    Attributes:
        seconds: By the pass's name.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._start = 0.0

    def started(self, name: str, graph: Graph) -> None:  # noqa: ARG002
        """Start the clock."""
        self._start = time.perf_counter()

    def finished(self, name: str, before: Graph, after: Graph, decisions: Sequence[Decision]) -> None:  # noqa: ARG002
        """Stop the clock."""
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - self._start


class Explain:
    """Collects what was decided as text.

    Attributes:
        lines: One per decision, under one per pass.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []

    def started(self, name: str, graph: Graph) -> None:
        """Nothing to do."""

    def finished(self, name: str, before: Graph, after: Graph, decisions: Sequence[Decision]) -> None:
        """Write the decisions of a pass."""
        change = "no change" if after is before else f"{len(before)} -> {len(after)} operations"
        self.lines.append(f"{name}: {change}")
        self.lines.extend(f"  {print_decision(decision)}" for decision in decisions)


def print_decision(decision: Decision) -> str:
    """One decision as one line: `applied %classify: temperature is 0 (saves 0.004 USD, 12 s)`."""
    saved = [
        f"{decision.saves_usd.normalize():f} USD" if decision.saves_usd else "",
        f"{decision.saves_s:g} s" if decision.saves_s else "",
    ]
    amounts = ", ".join(part for part in saved if part)
    return f"{decision.action} %{decision.operation}: {decision.reason}" + (f" (saves {amounts})" if amounts else "")
