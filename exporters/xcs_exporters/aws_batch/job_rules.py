"""Rules about job definitions: each function gives the reasons why one of them is not as it must be.

It knows limits; their sources stand in the table of `rules`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatchcase

from xcs_airflow.canonical import canonical_json
from xcs_airflow.exporting.image import RUNTIME_COMMAND
from xcs_exporters.aws_batch.documents import Condition, JobDefinition
from xcs_exporters.aws_batch.environment import looks_secret, why_not_variable
from xcs_exporters.aws_batch.files import Broken, Files
from xcs_exporters.aws_batch.job_definitions import MAX_ATTEMPTS, MIN_TIMEOUT_S, TRY_AGAIN_CODE, variable_of
from xcs_exporters.aws_batch.sizes import fargate_size, is_fargate_size
from xcs_exporters.aws_batch.variables import variables_in

MAX_BYTES = 24 * 1024
MAX_CONDITIONS = 5
MAX_TAGS = 50

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}", re.ASCII)
_PATTERN = re.compile(r"[A-Za-z0-9.:\s]{0,511}\*?", re.ASCII)
_EXIT_CODE = re.compile(r"[0-9]{0,511}\*?", re.ASCII)
_TAG_KEY = re.compile(r"[A-Za-z0-9 +=._:/@-]{1,128}", re.ASCII)
_TAG_VALUE = re.compile(r"[A-Za-z0-9 +=._:/@-]{0,256}", re.ASCII)


def name(definition: JobDefinition) -> Iterator[str]:
    """AB02."""
    if not NAME.fullmatch(definition.job_definition_name):
        yield f"the name {definition.job_definition_name!r} is not legal"


def size(files: Files) -> Iterator[Broken]:
    """AB03; white space between fields is not sent."""
    for path in files.job_definitions:
        count = len(canonical_json(files.documents[path]).encode())
        if count > MAX_BYTES:
            yield Broken(path, f"it has {count} bytes")


def fargate_pair(definition: JobDefinition) -> Iterator[str]:
    """AB04."""
    container = definition.container_properties
    vcpu, memory = container.amount("VCPU") or "", container.amount("MEMORY") or ""
    if is_on_fargate(definition) and not is_fargate_size(vcpu, memory):
        yield f"{vcpu or 'no'} vCPU with {memory or 'no'} MiB is not a size of Fargate{_next_size(vcpu, memory)}"


def _next_size(vcpu: str, memory: str) -> str:
    try:
        nearest = fargate_size(float(vcpu), int(memory))
    except ValueError:
        return ""
    return f"; the next is {nearest.vcpu} vCPU with {nearest.memory_mib} MiB" if nearest else ""


def gpu(definition: JobDefinition) -> Iterator[str]:
    """AB05."""
    if is_on_fargate(definition) and definition.container_properties.amount("GPU") is not None:
        yield "it asks for a GPU on Fargate"


def execution_role(definition: JobDefinition) -> Iterator[str]:
    """AB06."""
    container = definition.container_properties
    if (is_on_fargate(definition) or container.secrets) and not container.execution_role_arn:
        yield "it has no execution role"


def log_driver(definition: JobDefinition) -> Iterator[str]:
    """AB07."""
    logs = definition.container_properties.log_configuration
    if is_on_fargate(definition) and logs is not None and logs.log_driver not in ("awslogs", "splunk"):
        yield f"it logs to {logs.log_driver!r}"


def attempts(definition: JobDefinition) -> Iterator[str]:
    """AB08."""
    strategy = definition.retry_strategy
    if not 1 <= strategy.attempts <= MAX_ATTEMPTS:
        yield f"it has {strategy.attempts} attempts"
    if len(strategy.evaluate_on_exit) > MAX_CONDITIONS:
        yield f"it has {len(strategy.evaluate_on_exit)} conditions"


def conditions(files: Files) -> Iterator[Broken]:
    """AB09; what no condition matches is tried again, with all its paid calls, and so is 75, unless the state machine goes by it."""
    loops = [one.job_definition for machine in files.state_machine.loops() for one in machine.submissions()]
    probes = [one.job_definition for machine in files.state_machine.probes() if (one := machine.states[machine.start_at].submission)]
    questions = {name for text in (*loops, *probes) for name in variables_in(text)}
    for path, definition in files.job_definitions.items():
        conditions = definition.retry_strategy.evaluate_on_exit
        ends = [(condition.action.upper(), condition.patterns) for condition in conditions]
        if not ends or ends[-1] != ("EXIT", ["*"]):
            yield Broken(path, "its last condition does not end everything else")
        if variable_of(definition.job_definition_name) in questions:
            if any(_matches(condition, TRY_AGAIN_CODE) and condition.action.upper() == "RETRY" for condition in conditions):
                yield Broken(path, f"it tries exit code {TRY_AGAIN_CODE} again, by which the state machine goes")
        elif not ends or conditions[0].on_exit_code != TRY_AGAIN_CODE or ends[0][0] != "RETRY":
            yield Broken(path, f"its first condition does not try exit code {TRY_AGAIN_CODE} again")


def _matches(condition: Condition, code: str) -> bool:
    """Whether a condition is about an exit code."""
    return condition.on_exit_code is not None and fnmatchcase(code, condition.on_exit_code)


def patterns(definition: JobDefinition) -> Iterator[str]:
    """AB10."""
    for condition in definition.retry_strategy.evaluate_on_exit:
        if condition.on_exit_code is not None and not _EXIT_CODE.fullmatch(condition.on_exit_code):
            yield f"the pattern {condition.on_exit_code!r} is not one of exit codes"
        for text in (condition.on_reason, condition.on_status_reason):
            if text is not None and not _PATTERN.fullmatch(text):
                yield f"the pattern {text!r} is not legal"


def timeout(definition: JobDefinition) -> Iterator[str]:
    """AB11."""
    if definition.timeout is not None and definition.timeout.attempt_duration_seconds < MIN_TIMEOUT_S:
        yield f"an attempt ends after {definition.timeout.attempt_duration_seconds} seconds"


def variables(definition: JobDefinition) -> Iterator[str]:
    """AB12."""
    container = definition.container_properties
    values = [(variable.name, variable.value) for variable in container.environment] + [(secret.name, "") for secret in container.secrets]
    for variable, value in values:
        problem = why_not_variable(variable, value)
        if problem:
            yield f"the variable {variable!r}: {problem}"
    for variable, count in Counter(variable for variable, _ in values).items():
        if count > 1:
            yield f"the variable {variable!r} is set {count} times"


def secrets(definition: JobDefinition) -> Iterator[str]:
    """AB13."""
    for variable in definition.container_properties.environment:
        if looks_secret(variable.name):
            yield f"the variable {variable.name!r} looks like a secret written out"


def tags(definition: JobDefinition) -> Iterator[str]:
    """AB14."""
    yield from illegal_tags(definition.tags)


def illegal_tags(given: dict[str, str]) -> Iterator[str]:
    """Why tags are refused."""
    if len(given) > MAX_TAGS:
        yield f"there are {len(given)} tags"
    for key, value in given.items():
        if not (_TAG_KEY.fullmatch(key) and _TAG_VALUE.fullmatch(value)):
            yield f"the tag {key!r} = {value!r} is not legal"


def command(definition: JobDefinition) -> Iterator[str]:
    """AB15."""
    given = definition.container_properties.command
    if tuple(given[: len(RUNTIME_COMMAND)]) != RUNTIME_COMMAND:
        yield f"the command begins with {given[: len(RUNTIME_COMMAND)]}"


def is_on_fargate(definition: JobDefinition) -> bool:
    """Whether its jobs run on Fargate."""
    return "FARGATE" in definition.platform_capabilities
