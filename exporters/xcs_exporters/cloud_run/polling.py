"""Two workflows for jobs that poll: one runs a job again and again until a provider has finished, the other runs it once.

A job that is not ready ends with exit code 75. The operation of an execution does not tell exit codes, and may end in an error of its
own, so nobody waits for it: the execution is looked at until it is complete, and its task is asked. Between two executions the workflow
sleeps, which costs nothing. It knows the language of Workflows; it does not know plans.

Sources: https://cloud.google.com/workflows/docs/sleeping,
https://cloud.google.com/workflows/docs/reference/googleapis/run/v2/projects.locations.jobs.executions.tasks/list
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from xcs_airflow.plan import PlannedTask
from xcs_exporters.cloud_run.limits import limit

POLL_JOB, ASK_JOB = "poll_job", "ask_job"

LONGEST_S = (900, 1800, 3600)
"""The longest wait between two executions, in seconds: the first with which an execution of the workflow has steps for all of them."""

STEPS_PER_POLL = 30
"""Ten, and four for each look at an execution. Five looks take four minutes."""

GROWTH = 2
_TRY_AGAIN_CODE = 75
_NO_CODE = 256
"""Stands for the exit code of a container that never told one; no process ends with it."""

_FIRST_LOOK_S, _LONGEST_LOOK_S = 20, 60
_RUN = "googleapis.run.v2.projects.locations.jobs"


def waits(tasks: Iterable[PlannedTask], names: Mapping[str, str], attempts: Mapping[str, int]) -> dict[str, dict[str, int]] | None:
    """How long to go on for every job that polls; None when an execution has no steps even for the fewest questions.

    Args:
        tasks: Of the plan.
        names: Task id to job name.
        attempts: Task id to how often a start is tried that tells no exit code.
    """
    polls = {task.id: task.wait for task in tasks if task.wait is not None}
    for longest_s in LONGEST_S:
        waits = {
            names[task]: {
                "every_s": wait.every_s,
                "longest_s": max(longest_s, wait.every_s),
                "at_most_s": wait.at_most_s,
                "attempts": attempts[task],
            }
            for task, wait in polls.items()
        }
        if sum(len(wait.pauses_s(GROWTH, longest_s)) + 1 for wait in polls.values()) * STEPS_PER_POLL <= limit("workflow_steps") // 2:
            return waits
    return None


def workflows(start: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The two workflows by their names.

    Args:
        start: The arguments of a call that runs a job, without those of the connector.
    """
    return {POLL_JOB: _poll_job(), ASK_JOB: _ask_job(start)}


def _poll_job() -> dict[str, Any]:
    """Until the job ends well. It fails when the job does, and when the time of its wait or of the run is over."""
    begin = [
        {"wait": "${waits[job]}"},
        {"until": "${math.min(ends, sys.now() + wait.at_most_s)}"},
        {"pause_s": "${wait.every_s}"},
        {"lost": 0},
    ]
    ways = [
        {"condition": "${code == 0}", "next": "done"},
        {"condition": f"${{code == {_TRY_AGAIN_CODE} and left_s > 0}}", "next": "pause"},
        {"condition": f"${{code == {_NO_CODE} and left_s > 0 and lost < wait.attempts}}", "next": "ask"},
    ]
    message = '${"job " + job + " ended with " + string(code) + ": it failed, or its provider took too long"}'
    longer = [{"pause_s": f"${{math.min({GROWTH} * pause_s, wait.longest_s)}}"}, {"lost": 0}]
    return {
        "params": ["job", "run", "parameters", "waits", "ends"],
        "steps": [
            {"begin": {"assign": begin}},
            {"ask": {"call": ASK_JOB, "args": {name: f"${{{name}}}" for name in ("job", "run", "parameters")}, "result": "code"}},
            {"count": {"assign": [{"left_s": "${until - sys.now()}"}, {"lost": "${lost + 1}"}]}},
            {"judge": {"switch": ways}},
            {"fail": {"raise": message}},
            {"pause": {"call": "sys.sleep", "args": {"seconds": "${1 + int(math.min(pause_s, left_s))}"}}},
            {"longer": {"assign": longer, "next": "ask"}},
            {"done": {"return": "${job}"}},
        ],
    }


def _ask_job(start: Mapping[str, Any]) -> dict[str, Any]:
    """The exit code of a job of one task that is tried once."""
    run = {"call": f"{_RUN}.run", "args": {**start, "connector_params": {"skip_polling": True}}, "result": "operation"}
    look = {"call": f"{_RUN}.executions.get", "args": {"name": "${operation.metadata.name}"}, "result": "execution"}
    tasks = {"call": f"{_RUN}.executions.tasks.list", "args": {"parent": "${execution.name}"}, "result": "found"}
    is_complete = {"condition": '${default(map.get(execution, "completionTime"), "") != ""}', "next": "judge"}
    is_well = {"condition": '${default(map.get(execution, "succeededCount"), 0) == 1}', "return": 0}
    return {
        "params": ["job", "run", "parameters"],
        "steps": [
            {"start": run},
            {"begin": {"assign": [{"look_s": _FIRST_LOOK_S}]}},
            {"pause": {"call": "sys.sleep", "args": {"seconds": "${look_s}"}}},
            {"look": look},
            {"wait": {"switch": [is_complete]}},
            {"later": {"assign": [{"look_s": f"${{math.min({GROWTH} * look_s, {_LONGEST_LOOK_S})}}"}], "next": "pause"}},
            {"judge": {"switch": [is_well]}},
            {"tasks": tasks},
            {"code": {"return": f'${{default(map.get(found.tasks[0], ["lastAttemptResult", "exitCode"]), {_NO_CODE})}}'}},
        ],
    }
