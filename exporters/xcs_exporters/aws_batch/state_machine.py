"""The Step Functions definition of a plan: one `submitJob.sync` state for every task, nested as its graph nests.

Every job is waited for by the state that submitted it, so a job that fails ends the execution as failed, and an execution that is
stopped, or that misses its deadline, terminates the jobs it waits for. A task that polls is a loop of `polling`, one that is probed a
choice of `probing`. It knows states; it does not know job definitions beyond their variables, nor CloudFormation. No text of a pipeline's
author enters the definition but task ids, which are letters, digits, `_`, `-` and `.`.

Source: https://docs.aws.amazon.com/step-functions/latest/dg/connect-to-resource.html#connect-sync
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from xcs_airflow.plan.cloud_graph import CloudGraph
from xcs_airflow.plan.legalise import NameRule, legal_names, needs_around_probes
from xcs_exporters.aws_batch.blocks import Block, SideBySide, nest
from xcs_exporters.aws_batch.job_definitions import JobClass
from xcs_exporters.aws_batch.polling import EVENTS_PER_TASK, LONGEST_S, MAX_EVENTS, Patience, polling
from xcs_exporters.aws_batch.probing import probing

MAX_DEFINITION_BYTES = 1024 * 1024
STATE_NAMES = NameRule("A-Za-z0-9_.-", 80)
JOB_NAMES = NameRule("A-Za-z0-9_-", 128)

SUBMIT_AND_WAIT = "${SubmitJob}"

_SUBMIT_AGAIN = {
    "ErrorEquals": ["Batch.AWSBatchException"],
    "IntervalSeconds": 2,
    "MaxAttempts": 8,
    "MaxDelaySeconds": 60,
    "JitterStrategy": "FULL",
}
"""A queue admits 50 submissions a second; a job that failed is another error, `States.TaskFailed`, which only Batch retries."""


def state_machine(plan: CloudGraph, class_of: Mapping[str, JobClass]) -> dict[str, Any]:
    """The definition of a plan, in Amazon States Language.

    Args:
        plan: What to run.
        class_of: Task id to the job definition it is submitted with.
    """
    states = {task.id: _task_state(plan, task.id, task.shards, class_of[task.id]) for task in plan.tasks}
    probes = {task: probe.id for task, probe in plan.probe_of.items()}
    writer = _Writer(states, legal_names(states, STATE_NAMES), patience(plan) or {}, probes, count(1), count(1), count(1))
    deadline_s = plan.policy.deadline_s
    return {
        "Comment": f"{JOB_NAMES.mangle(plan.name)}: the execution's input is the parameters of the run, as one JSON object",
        **({} if deadline_s is None else {"TimeoutSeconds": math.ceil(deadline_s)}),
        **writer.chain([nest(needs_around_probes(plan.tasks))]),
    }


def patience(plan: CloudGraph) -> dict[str, Patience] | None:
    """How long to go on for every task that polls; None when the history of an execution has no room even for the fewest questions."""
    waits = {task.id: task.wait for task in plan.tasks if task.wait is not None}
    room = MAX_EVENTS - EVENTS_PER_TASK * len(plan.tasks)
    choices = ({task: Patience.of(wait, longest_s) for task, wait in waits.items()} for longest_s in LONGEST_S)
    return next((each for each in choices if not each or sum(one.events for one in each.values()) <= room), None)


def _task_state(plan: CloudGraph, task: str, shards: int, job_class: JobClass) -> dict[str, Any]:
    pipeline = JOB_NAMES.mangle(plan.name)
    arguments: dict[str, Any] = {
        "JobName": JOB_NAMES.mangle(f"{pipeline}-{task}"),
        "JobQueue": f"${{{job_class.queue}}}",
        "JobDefinition": f"${{{job_class.variable}}}",
        "Parameters": {"task": task, "run.$": "$$.Execution.Name"},
        "Tags": {"xcs:pipeline": pipeline, "xcs:task": task, "xcs:digest": plan.graph_digest},
    }
    if plan.parameters:
        arguments["Parameters"]["params.$"] = "States.JsonToString($$.Execution.Input)"
    if shards > 1:
        arguments["ArrayProperties"] = {"Size": shards}
    return {"Type": "Task", "Resource": SUBMIT_AND_WAIT, "Parameters": arguments, "ResultPath": None, "Retry": [_SUBMIT_AGAIN]}


@dataclass(frozen=True)
class _Writer:
    """Writes blocks as states.

    Attributes:
        states: Task id to its state, without its way on.
        name_of: Task id to the name of its state.
        patience: For tasks that poll: how long their loops go on.
        probes: For tasks that are probed: their probes.
        numbers: Tells states side by side apart; no task id has a space in it.
        polls: Tells loops apart.
        choices: Tells tasks that are probed apart.
    """

    states: Mapping[str, dict[str, Any]]
    name_of: Mapping[str, str]
    patience: Mapping[str, Patience]
    probes: Mapping[str, str]
    numbers: Iterator[int]
    polls: Iterator[int]
    choices: Iterator[int]

    def chain(self, blocks: list[Block]) -> dict[str, Any]:
        """States that run one after the other, as the body of a state machine or of a branch."""
        written = [self._state(part) for block in blocks for part in _flat(block)]
        names = [name for name, _ in written]
        ways_on: list[dict[str, Any]] = [*({"Next": name} for name in names[1:]), {"End": True}]
        return {"StartAt": names[0], "States": {name: {**state, **way} for (name, state), way in zip(written, ways_on, strict=True)}}

    def _state(self, block: str | SideBySide) -> tuple[str, dict[str, Any]]:
        if isinstance(block, str) and block in self.patience:
            title = f"Poll {next(self.polls)}"
            return title, polling(title, self.name_of[block], self.states[block], self.patience[block])
        if isinstance(block, str) and block in self.probes:
            probe = self.probes[block]
            title = f"Probe {next(self.choices)}"
            return title, probing(self.name_of[probe], self.states[probe], self.name_of[block], self.states[block])
        if isinstance(block, str):
            return self.name_of[block], self.states[block]
        name = f"Side by side {next(self.numbers)}"
        return name, {"Type": "Parallel", "Branches": [self.chain([part]) for part in block.parts], "ResultPath": None}


def _flat(block: Block) -> Iterator[str | SideBySide]:
    """The parts of a block that run one after the other."""
    if isinstance(block, str | SideBySide):
        yield block
    else:
        for part in block.parts:
            yield from _flat(part)
