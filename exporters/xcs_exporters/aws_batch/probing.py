"""A task that is probed, as states: the job of its probe, and its own, which runs only if the other did not end well.

    probe ─┬─ ended well ─▶ the end
           └─ anything else ─▶ task ─▶ the end

A probe that finds something missing ends with exit code 75. Whatever else keeps it from ending well, a lost machine or an image that
cannot be pulled, is caught as well: then the task says what is wrong, if anything is. So a probe never fails a run, and no exit code needs
to be read. An array job would not do for it: its children's exit codes stand in no description.

The states stand in the only branch of a parallel state, which is over when one of them ends. It knows states; it does not know plans.

Source: https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ANYTHING = "States.ALL"


def probing(probe: str, ask: Mapping[str, Any], task: str, run: Mapping[str, Any]) -> dict[str, Any]:
    """The state that runs a task unless its probe ends well, without its way on.

    Args:
        probe: The name of the state that runs the job of the probe.
        ask: That state, without its way on.
        task: The name of the state that runs the job of the task.
        run: That state, without its way on.
    """
    return {"Type": "Parallel", "Branches": [either(probe, ask, task, run)], "ResultPath": None}


def either(probe: str, ask: Mapping[str, Any], task: str, run: Mapping[str, Any]) -> dict[str, Any]:
    """The states inside; arguments are those of `probing`."""
    catch = {"ErrorEquals": [ANYTHING], "ResultPath": None, "Next": task}
    return {"StartAt": probe, "States": {probe: {**ask, "Catch": [catch], "End": True}, task: {**run, "End": True}}}
