"""The task graph as source of Google Cloud Workflows: level by level, every job once.

It knows the graph and the language (https://cloud.google.com/workflows/docs/reference/syntax); it does not know accounts: project
and region are where the workflow itself runs. No text of an author enters the source, so nothing of it can become an expression.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from xcs_airflow.canonical import canonical_json, pretty_json
from xcs_airflow.plan import CloudGraph, PlannedTask
from xcs_airflow.plan.legalise import needs_around_probes
from xcs_exporters.cloud_run import polling, probing
from xcs_exporters.cloud_run.jobs import attempts, timeout_s
from xcs_exporters.cloud_run.limits import limit
from xcs_exporters.cloud_run.probing import PROBE_JOB
from xcs_exporters.cloud_run.settings import CloudRunSettings

Step = dict[str, Any]

RUN_JOB = "run_job"
PARAMETERS_VARIABLE = "XCS_PARAMS"

_JOB = '${"projects/" + sys.get_env("GOOGLE_CLOUD_PROJECT_ID") + "/locations/" + sys.get_env("GOOGLE_CLOUD_LOCATION") + "/jobs/" + job}'
_OVERRIDE = {"args": ["--run", "${run}"], "env": [{"name": PARAMETERS_VARIABLE, "value": "${parameters}"}]}
_START = {"name": _JOB, "body": {"overrides": {"containerOverrides": [_OVERRIDE]}}}
"""The arguments of a call that runs a job."""

_START_S = 600  # for containers to be pulled and started, on top of what they may run


def levels(tasks: Sequence[PlannedTask]) -> list[list[PlannedTask]]:
    """The tasks by the longest way to them, so that all a task needs lies in levels before its own.

    Levels wait for each other, so tasks that poll have levels of their own: all that needs no answer goes before them, and polls that do
    not need each other wait side by side. A probe has no level: it runs in that of its task, and this one after it.
    """
    places: dict[str, tuple[int, bool, int]] = {}
    needed = needs_around_probes(tasks)
    started = [task for task in tasks if task.spares is None]
    for task in started:
        needs = [places[need] for need in needed[task.id]]
        waits = max((waits + is_poll for waits, is_poll, _ in needs), default=0)
        is_poll = task.wait is not None
        depth = max((depth + 1 for before, polls, depth in needs if (before, polls) == (waits, is_poll)), default=0)
        places[task.id] = (waits, is_poll, depth)
    return [[task for task in started if places[task.id] == place] for place in sorted(set(places.values()))]


def build_workflow(plan: CloudGraph, names: Mapping[str, str], settings: CloudRunSettings) -> dict[str, Any]:
    """The workflow's source.

    Args:
        plan: What is to run.
        names: Task id to job name.
        settings: For the tasks' time limits.
    """
    patience = waits_of(plan, names) or {}
    probes = {names[task]: names[probe.id] for task, probe in plan.probe_of.items()}
    steps = [_begin(patience, probes, plan.policy.deadline_s)]
    steps += [
        _level(number, [names[task.id] for task in level], patience, probes) for number, level in enumerate(levels(plan.tasks), start=1)
    ]
    steps.append({"done": {"return": {"run": "${run}"}}})
    wait_s = max((_longest_wait_s(task, settings) for task in plan.tasks), default=_START_S)
    polls = polling.workflows(_START) if patience else {}
    looks = {PROBE_JOB: probing.workflow(RUN_JOB)} if probes else {}
    return {"main": {"params": ["input"], "steps": steps}, RUN_JOB: _run_job(wait_s), **polls, **looks}


def waits_of(plan: CloudGraph, names: Mapping[str, str]) -> dict[str, dict[str, int]] | None:
    """How long to go on for every job that polls; None when an execution has no steps for that."""
    return polling.waits(plan.tasks, names, {task.id: attempts(task) for task in plan.tasks})


def to_source(workflow: Mapping[str, Any]) -> str:
    """The source as JSON, which is YAML; without line breaks where only so it fits the platform's limit."""
    text = pretty_json(workflow)
    return text if len(text.encode()) <= limit("workflow_bytes") else canonical_json(workflow)


def _begin(patience: Mapping[str, Any], probes: Mapping[str, str], deadline_s: float | None) -> Step:
    """What every job is told: the run, which is this execution unless the input resumes another, and the parameters.

    Where jobs poll, also how long each is waited for, and when all waiting ends, in seconds since 1970; where jobs are probed, by which.
    """
    longest_s = limit("workflow_wait_s") if deadline_s is None else math.ceil(deadline_s)
    told = [
        {"nothing": {}},
        {"run": '${default(map.get(input, "run"), sys.get_env("GOOGLE_CLOUD_WORKFLOW_EXECUTION_ID"))}'},
        {"parameters": '${json.encode_to_string(default(map.get(input, "parameters"), nothing))}'},
    ]
    waiting = [{"ends": f"${{sys.now() + {longest_s}}}"}, {"waits": dict(patience)}] if patience else []
    known = [{"probes": dict(probes)}] if probes else []
    return {"begin": {"assign": [*told, *known, *waiting]}}


def _level(number: int, jobs: Sequence[str], patience: Mapping[str, Any], probes: Mapping[str, str]) -> Step:
    """One step that ends when every job of a level has ended: the others go on when one fails, so a resumed run finds their results."""
    kind, call = "job", _call
    if jobs[0] in patience:
        kind, call = "poll", _poll
    elif not probes.keys().isdisjoint(jobs):
        kind, call = "probe", _probe
    if len(jobs) == 1:
        return {f"level_{number}": call(jobs[0])}
    step = {f"{kind}_of_level_{number}": call("${job}")}
    each = {"value": "job", "in": list(jobs), "steps": [step]}
    parallel = {"exception_policy": "continueAll", "concurrency_limit": limit("workflow_concurrency"), "for": each}
    return {f"level_{number}": {"parallel": parallel}}


def _call(job: str) -> Step:
    return {"call": RUN_JOB, "args": {"job": job, "run": "${run}", "parameters": "${parameters}"}}


def _poll(job: str) -> Step:
    return {"call": polling.POLL_JOB, "args": {**_call(job)["args"], "waits": "${waits}", "ends": "${ends}"}}


def _probe(job: str) -> Step:
    return {"call": PROBE_JOB, "args": {**_call(job)["args"], "probes": "${probes}"}}


def _longest_wait_s(task: PlannedTask, settings: CloudRunSettings) -> int:
    """When even one start after the other would have ended: waiting longer costs nothing, giving up early leaves jobs behind."""
    return min(limit("workflow_wait_s"), task.shards * attempts(task) * (timeout_s(task, settings) + _START_S))


def _run_job(wait_s: int) -> dict[str, Any]:
    """Run one job to its end. The operation of a failed job may end without an error, so successes are counted too."""
    call = {
        "call": "googleapis.run.v2.projects.locations.jobs.run",
        "args": {**_START, "connector_params": {"timeout": wait_s}},
        "result": "execution",
    }
    succeeded = {"condition": '${default(map.get(execution, "succeededCount"), 0) == map.get(execution, "taskCount")}', "next": "done"}
    message = '${"job " + job + ": not all of its tasks ended well"}'
    return {
        "params": ["job", "run", "parameters"],
        "steps": [
            {"start": call},
            {"count": {"switch": [succeeded]}},
            {"fail": {"raise": message}},
            {"done": {"return": "${execution.name}"}},
        ],
    }
