"""What all targets share when a plan meets a platform's rules: names, features and shards.

It knows rules as data; the rules themselves belong to the exporters. Every finding is collected before anything fails.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xcs_airflow.errors import ExportError, Finding, Severity
from xcs_airflow.plan.cloud_graph import CloudGraph, PlannedTask


@dataclass(frozen=True)
class NameRule:
    """How a platform wants names.

    Attributes:
        allowed: A character class, as in `A-Za-z0-9_-`; everything else becomes `filler`.
        max_length: In characters.
        filler: Stands for what is not allowed.
        lower: Whether letters are made small.
        prefix: Put before names that do not begin with a letter.
    """

    allowed: str
    max_length: int
    filler: str = "-"
    lower: bool = False
    prefix: str = "x"

    def mangle(self, name: str) -> str:
        """The nearest legal name. What it changes it marks with a hash of the original, so different names stay different."""
        text = name.lower() if self.lower else name
        text = re.sub(f"[^{self.allowed}]", self.filler, text)
        if not re.match("[A-Za-z]", text):
            text = f"{self.prefix}{text}"
        if text == name and len(text) <= self.max_length and not text.endswith(self.filler):
            return text
        mark = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        stem = text[: self.max_length - len(mark) - 1].rstrip(self.filler)
        return f"{stem}{self.filler}{mark}"


def legal_names(names: Iterable[str], rule: NameRule) -> dict[str, str]:
    """Every name with its legal form; legal forms are unique because changed ones carry a hash.

    Args:
        names: Distinct names.
        rule: What the platform allows.

    Raises:
        ExportError: A name was chosen to be what another one becomes.
    """
    legal = {name: rule.mangle(name) for name in names}
    taken: dict[str, str] = {}
    for name, form in legal.items():
        other = taken.setdefault(form, name)
        if other != name:
            raise ExportError.because("XCS508", name=form, target="the target", operation=f"{other} and {name}")
    return legal


def needed_features(plan: CloudGraph) -> dict[str, list[PlannedTask]]:
    """What a plan asks of a platform: feature to the tasks that ask, which is empty for what the whole plan asks."""
    needs: dict[str, list[PlannedTask]] = {}
    conditional = {step.id for step in plan.manifest.steps() if step.when is not None}
    if plan.policy.schedule is not None:
        needs["schedule"] = []
        if plan.policy.timezone != "UTC":
            needs["timezone"] = []
    if plan.parameters:
        needs["parameters"] = []
    if any(task.retry.attempts > 1 for task in plan.tasks):
        needs["retry_by_exit_code"] = []
    for task in plan.tasks:
        asked = {
            "edges": bool(task.needs),
            "shards": task.shards > 1,
            "retries": task.retry.attempts > 1,
            "timeout": task.timeout_s is not None,
            "gpu": task.resources.gpu > 0,
            "secrets": bool(task.secrets),
            "environment": bool(task.env),
            "image_per_task": task.image is not None,
            "conditions": not conditional.isdisjoint(task.operations),
            "rate_limit_pools": bool(task.providers),
            "provider_batch": task.kind == "collect",
            "probe": task.spares is not None,
        }
        for feature, is_asked in asked.items():
            if is_asked:
                needs.setdefault(feature, []).append(task)
    return needs


def needs_around_probes(tasks: Sequence[PlannedTask]) -> dict[str, tuple[str, ...]]:
    """What every task waits for but the probes, for platforms that write a probe and its task as one: that waits for what the probe does.

    Args:
        tasks: Of the plan.
    """
    probe_of = {task.spares.task: task for task in tasks if task.spares is not None}
    return {task.id: probe_of.get(task.id, task).needs for task in tasks if task.spares is None}


def unsupported(
    plan: CloudGraph,
    target: str,
    refused: Mapping[Any, str],
    *,
    advisory: Collection[str] = (),
    max_shards: int | None = None,
) -> list[Finding]:
    """Every reason why a target cannot run a plan as it is; advisory ones are warnings.

    Args:
        plan: What is to run.
        target: The exporter's name.
        refused: Feature to why the target cannot do it.
        advisory: Features whose absence changes no result.
        max_shards: The most starts of one task.
    """
    findings: list[Finding] = []
    for feature, tasks in needed_features(plan).items():
        if feature in refused:
            severity: Severity = "warning" if feature in advisory else "error"
            asking: Sequence[PlannedTask | None] = tasks or [None]
            findings += [refusal(plan, target, task, feature, refused[feature], severity=severity) for task in asking]
    for task in plan.tasks:
        if max_shards is not None and task.shards > max_shards:
            findings.append(refusal(plan, target, task, f"{task.shards} shards of one task", f"the limit is {max_shards}"))
    return findings


def refusal(
    plan: CloudGraph,
    target: str,
    task: PlannedTask | None,
    feature: str,
    reason: str,
    *,
    instead: str = "",
    severity: Severity = "error",
) -> Finding:
    """The finding that a target cannot do something, with the place that asks for it.

    Args:
        plan: What is to run.
        target: The exporter's name.
        task: Who asks; None when the whole plan does.
        feature: What it cannot do.
        reason: Why.
        instead: What to write instead.
        severity: A warning when leaving it out changes no result.
    """
    operation = f"%{task.operations[0]}" if task else None
    place = plan.source_of[task.operations[0]] if task else plan.source
    return Finding.of(
        "XCS502", target=target, feature=feature, reason=reason, instead=instead, operation=operation, place=place, severity=severity
    )
