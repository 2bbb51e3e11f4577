"""Rules about what runs when: the state machine, its submissions, the schedule, and the template that holds them.

It knows limits; their sources stand in the table of `rules`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from xcs_airflow.canonical import canonical_json
from xcs_exporters.aws_batch import template as made
from xcs_exporters.aws_batch.documents import State, StateMachine, Submission
from xcs_exporters.aws_batch.files import SCHEDULE, STATE_MACHINE, TEMPLATE, Broken, Files
from xcs_exporters.aws_batch.job_rules import NAME, illegal_tags
from xcs_exporters.aws_batch.polling import EVENTS_PER_TASK, MAX_EVENTS, Patience, loop
from xcs_exporters.aws_batch.probing import either
from xcs_exporters.aws_batch.state_machine import MAX_DEFINITION_BYTES, SUBMIT_AND_WAIT
from xcs_exporters.aws_batch.variables import variables_in

MAX_STATE_NAME = 80
ARRAY_SIZES = range(2, 10_001)
MAX_SUBMISSION_BYTES = 30 * 1024
MAX_COMMAND_CHARACTERS = 8192
MAX_RESOURCES = 500
MAX_PARAMETERS = 200

_CRON = re.compile(r"cron\(([^ ()]+) ([^ ()]+) ([^ ()]+) ([^ ()]+) ([^ ()]+) ([^ ()]+)\)")
_SCHEDULE_NAME = re.compile(r"[0-9A-Za-z_.-]{1,64}", re.ASCII)
_MAX_TIMEZONE = 50


def definition_size(files: Files) -> Iterator[Broken]:
    """AB20."""
    size = len(made.definition_string(files.documents[STATE_MACHINE]).encode())
    if size > MAX_DEFINITION_BYTES:
        yield Broken(STATE_MACHINE, f"it has {size} bytes")


def state_names(files: Files) -> Iterator[Broken]:
    """AB21."""
    for name, count in Counter(name for name, _ in files.state_machine.all_states()).items():
        if len(name) > MAX_STATE_NAME:
            yield Broken(STATE_MACHINE, f"the name {name!r} has {len(name)} characters")
        if count > 1:
            yield Broken(STATE_MACHINE, f"{count} states are named {name!r}")


def reachable(files: Files) -> Iterator[Broken]:
    """AB22."""
    for machine in files.state_machine.machines():
        reached = _reached(machine)
        if machine.start_at not in machine.states:
            yield Broken(STATE_MACHINE, f"it starts at {machine.start_at!r}, which is not there")
        for name in sorted(machine.states.keys() - reached):
            yield Broken(STATE_MACHINE, f"nothing leads to the state {name!r}")
        for name in sorted(reached & machine.states.keys()):
            state = machine.states[name]
            if state.end == (state.next is not None or state.default is not None) or not machine.states.keys() >= set(state.leads_to):
                yield Broken(STATE_MACHINE, f"after {name!r} it neither ends nor goes on to a state that is there")


def _reached(machine: StateMachine) -> set[str]:
    """Where its states lead to, from the first one on."""
    reached: set[str] = set()
    waiting = [machine.start_at]
    while waiting:
        name = waiting.pop()
        if name not in reached and name in machine.states:
            waiting += machine.states[name].leads_to
        reached.add(name)
    return reached


def kinds(files: Files) -> Iterator[Broken]:
    """AB23."""
    for machine in files.state_machine.machines():
        if machine.is_loop:
            if machine != _as_it_should_be(machine):
                yield Broken(STATE_MACHINE, f"the states from {machine.start_at!r} on are no loop that asks again after exit code 75 alone")
            continue
        if machine.is_probe and machine != _as_a_probe_should_be(machine):
            yield Broken(STATE_MACHINE, f"the states from {machine.start_at!r} on are no probe and the task that it may spare")
        for name, state in machine.states.items():
            is_job = state.type == "Task" and state.resource == SUBMIT_AND_WAIT and state.submission is not None
            if not is_job and not (state.type == "Parallel" and state.branches):
                yield Broken(STATE_MACHINE, f"the state {name!r} neither waits for a job nor runs branches")


def _as_it_should_be(machine: StateMachine) -> StateMachine | None:
    """The loop that runs the same job with the same waits; None when it runs none, or does not wait."""
    names = [name for name, state in machine.states.items() if state.catch]
    submission, patience = machine.states[names[0]].submission, _patience(machine)
    if submission is None or patience is None or len(names) > 1:
        return None
    return StateMachine.model_validate(loop(machine.start_at.removesuffix(": begin"), names[0], _job(submission), patience))


def _as_a_probe_should_be(machine: StateMachine) -> StateMachine | None:
    """The choice between the same two jobs; None when there are not two."""
    jobs = [(name, _job(submission)) for name in machine.chain() if (submission := machine.states[name].submission) is not None]
    if len(jobs) != len(machine.states) or len(jobs) != 2:  # noqa: PLR2004  # the probe's and the task's
        return None
    (probe, ask), (task, run) = jobs
    return StateMachine.model_validate(either(probe, ask, task, run))


def _job(submission: Submission) -> dict[str, Any]:
    """A state that submits a job and waits for it."""
    return {"Type": "Task", "Resource": SUBMIT_AND_WAIT, "Parameters": submission.model_dump(by_alias=True), "ResultPath": None}


def _patience(machine: StateMachine) -> Patience | None:
    """How long a loop goes on; None when that cannot be told."""
    begin = machine.states.get(machine.start_at)
    result = begin.result if begin is not None and isinstance(begin.result, dict) else {}
    longest_s = next((state.seconds for state in machine.states.values() if state.seconds is not None), None)
    match result.get("wait_s"), result.get("left"), longest_s:
        case int(first_s), int(waits), int(longest_s) if 1 <= first_s <= longest_s and waits >= 1:
            return Patience(first_s, longest_s, waits)
    return None


def data(files: Files) -> Iterator[Broken]:
    """AB24."""
    for machine in files.state_machine.machines():
        for name, state in machine.states.items():
            if state.result_path is not None and not machine.is_loop:
                yield Broken(STATE_MACHINE, f"the state {name!r} puts its result into the data")


def job_names(files: Files) -> Iterator[Broken]:
    """AB25."""
    for submission in files.state_machine.submissions():
        if not NAME.fullmatch(submission.job_name):
            yield Broken(STATE_MACHINE, f"the name {submission.job_name!r} of a job is not legal")


def arrays(files: Files) -> Iterator[Broken]:
    """AB26."""
    for submission in files.state_machine.submissions():
        if submission.array_properties is not None and submission.array_properties.size not in ARRAY_SIZES:
            yield Broken(STATE_MACHINE, f"{submission.job_name} is an array of {submission.array_properties.size}")


def submissions(files: Files) -> Iterator[Broken]:
    """AB27."""
    commands = {path: sum(map(len, one.container_properties.command)) for path, one in files.job_definitions.items()}
    for path, length in commands.items():
        if length > MAX_COMMAND_CHARACTERS // 2:
            yield Broken(path, f"its command has {length} characters before any parameter")
    for submission in files.state_machine.submissions():
        size = len(canonical_json(submission.model_dump(by_alias=True, exclude_none=True)).encode())
        if size > MAX_SUBMISSION_BYTES:
            yield Broken(STATE_MACHINE, f"the submission of {submission.job_name} has {size} bytes")
        for reason in illegal_tags(submission.tags):
            yield Broken(STATE_MACHINE, f"the submission of {submission.job_name}: {reason}")


def definitions(files: Files) -> Iterator[Broken]:
    """AB28."""
    submitted = {name for one in files.state_machine.submissions() for name in variables_in(one.job_definition)}
    described = {name for name, resource in files.template.resources.items() if resource.get("Type") == "AWS::Batch::JobDefinition"}
    for name in sorted(submitted - described):
        yield Broken(STATE_MACHINE, f"it submits {name}, which no job definition describes")
    for name in sorted(described - submitted):
        yield Broken(TEMPLATE, f"nothing submits {name}")


def manifest(files: Files) -> Iterator[Broken]:
    """AB29."""
    if files.manifest is None:
        return
    shards = [
        (one.parameters.get("task", ""), one.array_properties.size if one.array_properties else 1)
        for one in files.state_machine.submissions()
    ]
    wanted = {(task.id, task.shards) for task in files.manifest.tasks}
    for task, count in sorted(set(shards) ^ wanted) + sorted(pair for pair, times in Counter(shards).items() if times > 1):
        yield Broken(STATE_MACHINE, f"the task {task!r} with {count} shards does not run exactly once")
    before = ended_before(files.state_machine)
    for entry in files.manifest.tasks:
        for need in sorted(set(entry.needs) - before.get(entry.id, frozenset())):
            yield Broken(STATE_MACHINE, f"the task {entry.id!r} does not wait for {need!r}")


def history(files: Files) -> Iterator[Broken]:
    """AB32; a parallel state leaves four events, and what its branches leave."""
    events = sum(4 if state.type == "Parallel" else EVENTS_PER_TASK for _, state in files.state_machine.all_states())
    events += sum(patience.events for machine in files.state_machine.loops() if (patience := _patience(machine)) is not None)
    if events > MAX_EVENTS:
        yield Broken(STATE_MACHINE, f"an execution may have {events} events")


def polls(files: Files) -> Iterator[Broken]:
    """AB33."""
    if files.manifest is None:
        return
    waited: dict[str, int] = {}
    for machine in files.state_machine.loops():
        patience = _patience(machine)
        for one in machine.submissions():
            waited[one.parameters.get("task", "")] = patience.seconds if patience is not None else 0
    windows = {task.id: task.provider_batch.window_s for task in files.manifest.tasks if task.provider_batch is not None}
    wanted = {task.id: windows.get(task.part_of or "", 0) for task in files.manifest.tasks if task.kind == "poll"}
    for task in sorted(waited.keys() ^ wanted.keys()):
        yield Broken(
            STATE_MACHINE, f"the task {task!r} {'is asked again and does not poll' if task in waited else 'polls and is asked once'}"
        )
    for task in sorted(waited.keys() & wanted.keys()):
        if waited[task] < wanted[task]:
            yield Broken(STATE_MACHINE, f"the task {task!r} is waited for {waited[task]} seconds, its provider may take {wanted[task]}")


def probes(files: Files) -> Iterator[Broken]:
    """AB34."""
    if files.manifest is None:
        return
    found = {tuple(_task_of(machine.states[name]) for name in machine.chain()) for machine in files.state_machine.probes()}
    wanted = {(task.id, task.part_of or "") for task in files.manifest.tasks if task.kind == "probe"}
    for pair in sorted(found ^ wanted):
        yield Broken(STATE_MACHINE, f"{' and '.join(map(repr, pair))} are {'no probe and its task' if pair in found else 'not one choice'}")


def _task_of(state: State) -> str:
    """The task that a state runs; nothing when it runs none."""
    return "" if state.submission is None else state.submission.parameters.get("task", "")


def schedule(files: Files) -> Iterator[Broken]:
    """AB30."""
    if files.schedule is not None:
        expression = files.schedule.schedule_expression
        match = _CRON.fullmatch(expression)
        if match is None or (match[3], match[5]).count("?") != 1 or "?" in match.group(1, 2, 4, 6):
            yield Broken(SCHEDULE, f"{expression!r} is not such an expression")


def schedule_names(files: Files) -> Iterator[Broken]:
    """AB31."""
    if files.schedule is not None:
        if not _SCHEDULE_NAME.fullmatch(files.schedule.name):
            yield Broken(SCHEDULE, f"the name {files.schedule.name!r} is not legal")
        if not 1 <= len(files.schedule.schedule_expression_timezone) <= _MAX_TIMEZONE:
            yield Broken(SCHEDULE, f"the time zone {files.schedule.schedule_expression_timezone!r} is not legal")


def template_size(files: Files) -> Iterator[Broken]:
    """AB40."""
    counts = (
        (files.size[TEMPLATE], made.MAX_TEMPLATE_BYTES, "bytes"),
        (len(files.template.resources), MAX_RESOURCES, "resources"),
        (len(files.template.parameters), MAX_PARAMETERS, "parameters"),
    )
    for count, limit, noun in counts:
        if count > limit:
            yield Broken(TEMPLATE, f"it has {count} {noun}, the limit is {limit}")


def template_content(files: Files) -> Iterator[Broken]:
    """AB41."""
    resources = files.template.resources
    machine = _state_machine_properties(files)
    text = made.definition_string(files.documents[STATE_MACHINE])
    if machine.get("DefinitionString") != text:
        yield Broken(TEMPLATE, f"its state machine is not that of {STATE_MACHINE}")
    held = [resource for resource in resources.values() if resource.get("Type") == "AWS::Batch::JobDefinition"]
    for path in files.job_definitions:
        if made.job_definition(files.documents[path]) not in held:
            yield Broken(TEMPLATE, f"it does not hold {path}")
    if len(held) > len(files.job_definitions):
        yield Broken(TEMPLATE, f"it holds {len(held)} job definitions, of which {len(files.job_definitions)} have a file")
    wanted = made.schedule_resource(files.documents[SCHEDULE]) if SCHEDULE in files.documents else None
    if resources.get("Schedule") != wanted:
        yield Broken(TEMPLATE, f"its schedule is not that of {SCHEDULE}")


def variables_known(files: Files) -> Iterator[Broken]:
    """AB42."""
    substituted = _state_machine_properties(files).get("DefinitionSubstitutions")
    in_machine = set(substituted) if isinstance(substituted, dict) else set()
    in_template = files.template.parameters.keys() | files.template.resources.keys()
    for path in (*files.job_definitions, STATE_MACHINE, SCHEDULE):
        known = in_machine if path == STATE_MACHINE else in_template
        for name in sorted(set(variables_in(files.documents.get(path))) - known):
            if not name.startswith("AWS::"):
                yield Broken(path, f"nothing gives ${{{name}}} a value")


def _state_machine_properties(files: Files) -> Mapping[str, Any]:
    properties = files.template.resources.get("StateMachine", {}).get("Properties")
    return properties if isinstance(properties, dict) else {}


def ended_before(machine: StateMachine) -> dict[str, frozenset[str]]:
    """Task to all tasks that have ended when it is submitted."""
    return _ended_before(machine, frozenset())[0]


def _ended_before(machine: StateMachine, ended: frozenset[str]) -> tuple[dict[str, frozenset[str]], frozenset[str]]:
    """What has ended before each task of a chain, and after the chain."""
    before: dict[str, frozenset[str]] = {}
    for name in machine.chain():
        state = machine.states[name]
        own: set[str] = set()
        for branch in state.branches:
            inside, after = _ended_before(branch, ended)
            before |= inside
            own |= after
        if state.submission is not None:
            task = state.submission.parameters.get("task", "")
            before[task] = ended
            own.add(task)
        ended |= own
    return before, ended
