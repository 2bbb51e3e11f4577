"""Rules about the source of a workflow: what deployment or the first execution would refuse.

It knows the language as JSON, however broken; it does not know plans or jobs.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from xcs_airflow.plan.cloud_graph import Wait
from xcs_exporters.cloud_run.limits import limit
from xcs_exporters.cloud_run.polling import GROWTH, POLL_JOB, STEPS_PER_POLL
from xcs_exporters.cloud_run.probing import PROBE_JOB

Source = Mapping[str, Any]
Reasons = Iterator[str]

_KINDS = {"assign", "call", "switch", "for", "parallel", "raise", "return", "next", "steps", "try"}
_WITH = {"call": {"args", "result", "next"}, "assign": {"next"}, "switch": {"next"}, "try": {"retry", "except"}, "steps": {"next"}}
_SPECIAL_TARGETS = {"end", "continue", "break"}
_EXPRESSION = re.compile(r"\$\{.*\}", re.DOTALL)
_LIBRARY = re.compile(r"(googleapis(\.[A-Za-z0-9]+)+|(http|sys|json|text|map|list|math|time|uuid|base64|events|retry)\.[a-z_0-9]+)")
_RUN_JOB = "run_job"


def forms(source: Source) -> Reasons:
    """Every step is one name with one kind of work, and the parts that go with it."""
    for workflow, name, step in _steps(source):
        kinds = _KINDS & set(step)
        main = kinds - {"next"} or kinds
        if len(main) != 1:
            yield f"{workflow}.{name} has {' and '.join(sorted(main)) or 'nothing'} to do"
            continue
        (kind,) = main
        for part in sorted(set(step) - {kind} - _WITH.get(kind, set())):
            yield f"{workflow}.{name} has {part!r} beside {kind!r}"
    if "main" not in source:
        yield "there is no workflow 'main'"


def unique_steps(source: Source) -> Reasons:
    """No name of a step stands twice in one workflow, however deep."""
    counts = Counter((workflow, name) for workflow, name, _ in _steps(source))
    yield from (f"{workflow} has {count} steps named {name}" for (workflow, name), count in counts.items() if count > 1)


def jumps(source: Source) -> Reasons:
    """Every `next` names a step of the same workflow."""
    known: dict[str, set[str]] = {}
    for workflow, name, _ in _steps(source):
        known.setdefault(workflow, set()).add(name)
    for workflow, name, step in _steps(source):
        choices = step.get("switch")
        branches = [step, *(choice for choice in choices if isinstance(choice, dict))] if isinstance(choices, list) else [step]
        for target in [branch["next"] for branch in branches if "next" in branch]:
            if target not in known[workflow] | _SPECIAL_TARGETS:
                yield f"{workflow}.{name} goes on to {target!r}, which is no step"


def calls(source: Source) -> Reasons:
    """Every call finds its target, and a workflow of this source gets the parameters it has."""
    for workflow, name, step in _steps(source):
        target = step.get("call")
        if target is None:
            continue
        if target in source:
            wanted, given = source[target].get("params", []), step.get("args", {})
            if set(wanted) != set(given):
                yield f"{workflow}.{name} gives {sorted(given)} to {target}, which takes {sorted(wanted)}"
        elif not _LIBRARY.fullmatch(str(target)):
            yield f"{workflow}.{name} calls {target!r}, which is not known"


def expressions(source: Source) -> Reasons:
    """No expression is longer than the platform reads."""
    for text in _texts(source):
        if _EXPRESSION.fullmatch(text) and len(text) - len("${}") > limit("workflow_expression"):
            yield f"an expression of {len(text) - len('${}')} characters begins {text[:40]!r}"


def parallels(source: Source) -> Reasons:
    """Parallel steps stay within branches, concurrency and depth; assignments within their number."""
    for workflow, name, step in _steps(source):
        parallel = step.get("parallel")
        if isinstance(parallel, dict):
            if len(parallel.get("branches", [])) > limit("workflow_branches"):
                yield f"{workflow}.{name} has {len(parallel['branches'])} branches"
            if parallel.get("concurrency_limit", 1) > limit("workflow_concurrency"):
                yield f"{workflow}.{name} runs {parallel['concurrency_limit']} at a time"
            if _parallel_depth(step) > limit("workflow_parallel_depth"):
                yield f"{workflow}.{name} is {_parallel_depth(step)} parallel steps deep"
        if len(step.get("assign", [])) > limit("workflow_assignments"):
            yield f"{workflow}.{name} assigns {len(step['assign'])} variables"


def started_jobs(source: Source) -> list[str]:
    """The names of the jobs that a workflow runs, as often as it runs them."""
    found: list[str] = []
    for workflow, _, step in _steps(source):
        arguments, parallel = step.get("args"), step.get("parallel")
        is_run = workflow == "main" and step.get("call") in (_RUN_JOB, POLL_JOB, PROBE_JOB)
        if is_run and isinstance(arguments, dict) and arguments.get("job") != "${job}":
            found.append(str(arguments.get("job")))
        if isinstance(parallel, dict) and isinstance(parallel.get("for"), dict):
            found += [str(job) for job in parallel["for"].get("in", [])]
    return [*found, *map(str, probes(source).values())]


def waits(source: Source) -> Mapping[str, Any]:
    """For every job that the workflow runs again until it is ready: how long."""
    return _told(source, "waits")


def probes(source: Source) -> Mapping[str, Any]:
    """For every job that is run only if a probe does not end well: the job of the probe."""
    return _told(source, "probes")


def _told(source: Source, name: str) -> Mapping[str, Any]:
    """What the workflow has written down about jobs under a name."""
    assigned = [entry for _, _, step in _steps({"main": source.get("main")}) for entry in step.get("assign", [])]
    return next((entry[name] for entry in assigned if isinstance(entry, dict) and isinstance(entry.get(name), dict)), {})


def polled_jobs(source: Source) -> set[str]:
    """The jobs that steps of the workflow poll, alone or side by side."""
    return _jobs_run_by(source, POLL_JOB)


def _jobs_run_by(source: Source, name: str) -> set[str]:
    """The jobs that steps of the workflow hand to another workflow of this source, alone or side by side."""
    found: set[str] = set()
    for workflow, _, step in _steps(source):
        if workflow == "main" and step.get("call") == name:
            found.add(str(step.get("args", {}).get("job")))
        loop = step["parallel"].get("for") if isinstance(step.get("parallel"), dict) else None
        if isinstance(loop, dict) and any(inner.get("call") == name for _, inner in _inside(loop)):
            found |= {str(job) for job in loop.get("in", [])}
    return found - {"${job}"}


def probed(source: Source) -> Reasons:
    """Jobs that have a probe are run by the workflow that asks it first."""
    for job in sorted(probes(source).keys() - _jobs_run_by(source, PROBE_JOB)):
        yield f"{job} has a probe, and nothing asks it"


def polls(source: Source) -> Reasons:
    """The jobs that are polled are those whose waits are told, and an execution has steps for them."""
    told = waits(source)
    for job in sorted(polled_jobs(source) ^ set(told)):
        yield f"{job} is polled and it is not told for how long" if job not in told else f"{job} is waited for and not polled"
    questions = sum(_questions(wait) for wait in told.values())
    if questions * STEPS_PER_POLL > limit("workflow_steps"):
        yield f"an execution may have {questions * STEPS_PER_POLL} steps"


def _questions(wait: Mapping[str, int]) -> int:
    """How often a job is asked at most."""
    return 1 + len(Wait(every_s=wait["every_s"], at_most_s=wait["at_most_s"]).pauses_s(GROWTH, wait["longest_s"]))


def _steps(source: Source) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every step with the name of its workflow and its own, also those inside others."""
    for workflow, body in source.items():
        for name, step in _inside(body):
            yield workflow, name, step


def _inside(node: object) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(node, list):
        for item in node:
            yield from _inside(item)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key == "steps" and isinstance(value, list):
                for entry in value:
                    yield from ((name, step) for name, step in entry.items() if isinstance(step, dict))
            if key not in ("args", "in", "assign"):
                yield from _inside(value)


def _parallel_depth(node: object) -> int:
    if isinstance(node, list):
        return max(map(_parallel_depth, node), default=0)
    if isinstance(node, dict):
        return max((_parallel_depth(value) + (key == "parallel") for key, value in node.items()), default=0)
    return 0


def _texts(node: object) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, Mapping):
        for value in node.values():
            yield from _texts(value)
    elif isinstance(node, list):
        for value in node:
            yield from _texts(value)
