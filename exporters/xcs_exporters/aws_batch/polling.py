"""A task that polls, as states: its job runs again and again until a provider has finished, and between two jobs nothing runs.

    begin ─▶ ask ─┬─ ended well ─▶ the end
              ▲   └─ failed ─▶ how ─▶ code ─▶ again ─┬─ exit code 75 ─▶ wait ─▶ longer ─┐
              │                                      ├─ exit code 75 ─▶ wait long ──────┤
              │                                      └─ anything else, or no time left ─▶ last
              └─────────────────────────────────────────────────────────────────────────┘

A job that is not ready ends with exit code 75, which stands in the description of the job, which is the cause of the failure. Each
wait is twice as long as the one before, up to a longest one. What ends the loop is asked once more, without being caught: so the
failure is that of a job, and an execution that is redriven goes on by asking.

The states stand in the only branch of a parallel state: what they remember stays there. It knows states; it does not know plans.

Sources: https://docs.aws.amazon.com/step-functions/latest/dg/connect-batch.html,
https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xcs_airflow.plan.cloud_graph import Wait
from xcs_exporters.aws_batch.job_definitions import TRY_AGAIN_CODE

LONGEST_S = (900, 1800, 3600)
"""The longest wait between two jobs, in seconds: the first with which the history of an execution has room for all of them."""

MAX_EVENTS = 25_000
EVENTS_PER_TASK = 6
EVENTS_PER_POLL = 14
"""The history of an execution has at most 25,000 events. A job leaves 6: entered, scheduled, started, submitted, ended, left; every
other state of the loop 2. Source: https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html"""

_GROWTH = 2


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a loop goes on.

    Attributes:
        first_s: The first wait, in seconds.
        longest_s: The longest; not less than the first.
        waits: How many there are.
    """

    first_s: int
    longest_s: int
    waits: int

    @classmethod
    def of(cls, wait: Wait, longest_s: int) -> Patience:
        """What waits for as long as a plan says, and never longer at a time than this, unless the first wait is."""
        return cls(wait.every_s, max(longest_s, wait.every_s), len(wait.pauses_s(_GROWTH, longest_s)))

    @property
    def events(self) -> int:
        """What it adds to the history of an execution at most."""
        return EVENTS_PER_POLL * (self.waits + 1)

    @property
    def seconds(self) -> int:
        """All waits together."""
        total, wait_s, left = 0, self.first_s, self.waits
        while left and wait_s < self.longest_s:
            total, wait_s, left = total + wait_s, wait_s * _GROWTH, left - 1
        return total + left * self.longest_s


def polling(title: str, name: str, ask: Mapping[str, Any], patience: Patience) -> dict[str, Any]:
    """The state that runs a job until it ends well, without its way on.

    Args:
        title: Its name, with which the names of the states inside begin.
        name: Of the state that runs the job.
        ask: That state, without its way on.
        patience: How long it goes on.
    """
    return {"Type": "Parallel", "Branches": [loop(title, name, ask, patience)], "ResultPath": None}


def loop(title: str, name: str, ask: Mapping[str, Any], patience: Patience) -> dict[str, Any]:
    """The states inside; arguments are those of `polling`."""
    inside = {part: f"{title}: {part}" for part in ("begin", "how", "code", "again", "wait", "longer", "wait long", "last")}
    states: dict[str, Any] = {
        "begin": {"Type": "Pass", "Result": {"wait_s": patience.first_s, "left": patience.waits}, "Next": name},
        "how": _choice([_TOLD], [inside["code"]], inside["last"]),
        "code": {"Type": "Pass", "Parameters": _FOUND, "Next": inside["again"]},
        "again": _choice(
            [[*_NOT_READY, {"Variable": "$.wait_s", "NumericLessThan": patience.longest_s}], _NOT_READY],
            [inside["wait"], inside["wait long"]],
            inside["last"],
        ),
        "wait": {"Type": "Wait", "SecondsPath": "$.wait_s", "Next": inside["longer"]},
        "longer": {"Type": "Pass", "Parameters": _LONGER, "Next": name},
        "wait long": {"Type": "Wait", "Seconds": patience.longest_s, "Next": name},
        "last": {**ask, "End": True},
    }
    catch = {"ErrorEquals": ["States.TaskFailed"], "ResultPath": "$.ended", "Next": inside["how"]}
    return {
        "StartAt": inside["begin"],
        "States": {**{inside[part]: state for part, state in states.items()}, name: {**ask, "Catch": [catch], "End": True}},
    }


_TOLD = [{"Variable": "$.ended.Error", "StringEquals": "States.TaskFailed"}, {"Variable": "$.ended.Cause", "StringMatches": "{*}"}]
"""A job that ended; errors of Step Functions and of Batch have other names or tell no JSON."""

_FOUND = {"wait_s.$": "$.wait_s", "left.$": "States.MathAdd($.left, -1)", "job.$": "States.StringToJson($.ended.Cause)"}

_NOT_READY = [
    {"Variable": "$.job.Container.ExitCode", "IsPresent": True},
    {"Variable": "$.job.Container.ExitCode", "NumericEquals": int(TRY_AGAIN_CODE)},
    {"Variable": "$.left", "NumericGreaterThanEquals": 0},
]

_LONGER = {"wait_s.$": "States.MathAdd($.wait_s, $.wait_s)", "left.$": "$.left"}


def _choice(ifs: list[list[dict[str, Any]]], ways: list[str], default: str) -> dict[str, Any]:
    """The first way whose conditions all hold."""
    return {"Type": "Choice", "Choices": [{"And": all_of, "Next": way} for all_of, way in zip(ifs, ways, strict=True)], "Default": default}
