"""The emitted files as values, read back for the rules: the fields that rules ask about, with their types.

It knows shapes; it does not know limits. Fields that no rule asks about are let through: botocore's model knows them all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_camel, to_pascal


class _Camel(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, alias_generator=to_camel)


class Requirement(_Camel):
    """An amount of something, which Batch wants as text."""

    type: str
    value: str


class Variable(_Camel):
    """An environment variable."""

    name: str
    value: str


class Secret(_Camel):
    """An environment variable that is read from a secret store."""

    name: str
    value_from: str


class LogConfiguration(_Camel):
    """Where a container's output goes."""

    log_driver: str


class Container(_Camel):
    """What a job runs."""

    image: str
    command: list[str]
    execution_role_arn: str | None = None
    job_role_arn: str | None = None
    resource_requirements: list[Requirement]
    environment: list[Variable] = Field(default_factory=list)
    secrets: list[Secret] = Field(default_factory=list)
    log_configuration: LogConfiguration | None = None

    def amount(self, kind: str) -> str | None:
        """What it asks for, as written; None when it does not ask."""
        return next((entry.value for entry in self.resource_requirements if entry.type == kind), None)


class Condition(_Camel):
    """What to do when an attempt ended in a certain way."""

    action: str
    on_exit_code: str | None = None
    on_reason: str | None = None
    on_status_reason: str | None = None

    @property
    def patterns(self) -> list[str]:
        """What it compares with."""
        return [text for text in (self.on_exit_code, self.on_reason, self.on_status_reason) if text is not None]


class RetryStrategy(_Camel):
    """How often a job is tried."""

    attempts: int
    evaluate_on_exit: list[Condition] = Field(default_factory=list)


class Timeout(_Camel):
    """How long one attempt may take."""

    attempt_duration_seconds: int


class JobDefinition(_Camel):
    """Input of RegisterJobDefinition."""

    job_definition_name: str
    platform_capabilities: list[str]
    container_properties: Container
    retry_strategy: RetryStrategy
    timeout: Timeout | None = None
    tags: dict[str, str] = Field(default_factory=dict)


class _Pascal(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, alias_generator=to_pascal)


class ArrayProperties(_Pascal):
    """How many child jobs an array job has."""

    size: int


class Submission(_Pascal):
    """Input of SubmitJob, as Step Functions writes it."""

    job_name: str
    job_queue: str
    job_definition: str
    parameters: dict[str, str]
    array_properties: ArrayProperties | None = None
    tags: dict[str, str] = Field(default_factory=dict)


class Way(_Pascal):
    """Where a choice or an error leads to, and whatever leads there."""

    model_config = ConfigDict(extra="allow")

    next: str


class State(_Pascal):
    """One state; `branches` belong to parallel states, `choices` to those that choose.

    `parameters` are those of a job where a job is submitted, else whatever a state remembers.
    """

    type: str
    resource: str | None = None
    parameters: Annotated[Submission | dict[str, JsonValue] | None, Field(union_mode="left_to_right")] = None
    branches: list[StateMachine] = Field(default_factory=list)
    choices: list[Way] = Field(default_factory=list)
    default: str | None = None
    seconds: int | None = None
    seconds_path: str | None = None
    result: JsonValue = None
    next: str | None = None
    end: bool = False
    result_path: str | None = "$"
    catch: list[Way] = Field(default_factory=list)

    @property
    def submission(self) -> Submission | None:
        """The job it submits."""
        return self.parameters if isinstance(self.parameters, Submission) else None

    @property
    def leads_to(self) -> list[str]:
        """The states that may follow."""
        ways = [self.next, self.default, *(way.next for way in (*self.choices, *self.catch))]
        return [way for way in ways if way is not None]


class StateMachine(_Pascal):
    """A state machine, or a branch of one."""

    start_at: str
    states: dict[str, State]

    def all_states(self) -> Iterator[tuple[str, State]]:
        """Every state with its name, those of branches included."""
        for name, state in self.states.items():
            yield name, state
            for branch in state.branches:
                yield from branch.all_states()

    def submissions(self) -> Iterator[Submission]:
        """Every job it submits, those of a loop once."""
        for state in self.states.values() if not self.is_loop else self.asking:
            if state.submission is not None:
                yield state.submission
            for branch in state.branches:
                yield from branch.submissions()

    @property
    def is_loop(self) -> bool:
        """Whether it asks again what has failed: its own states, not those of its branches."""
        return bool(self.asking) and not self.is_probe

    @property
    def is_probe(self) -> bool:
        """Whether it begins with a job whose failure leads to another: its own states, not those of its branches."""
        first = self.states.get(self.start_at)
        return first is not None and bool(first.catch)

    @property
    def asking(self) -> list[State]:
        """Its own states whose failures are caught."""
        return [state for state in self.states.values() if state.catch]

    def machines(self) -> Iterator[StateMachine]:
        """Itself and all its branches."""
        yield self
        for state in self.states.values():
            for branch in state.branches:
                yield from branch.machines()

    def loops(self) -> Iterator[StateMachine]:
        """Every loop in it."""
        return (machine for machine in self.machines() if machine.is_loop)

    def probes(self) -> Iterator[StateMachine]:
        """Every choice between a probe and its task in it."""
        return (machine for machine in self.machines() if machine.is_probe)

    def chain(self) -> list[str]:
        """The names of its own states in the order they run in, as far as each leads to another; of a probe also what it may spare."""
        names: list[str] = []
        name: str | None = self.start_at
        while name in self.states and name not in names:
            names.append(name)
            state = self.states[name]
            name = state.catch[0].next if self.is_probe and state.catch else state.next
        return names


class Schedule(_Pascal):
    """Input of CreateSchedule."""

    name: str
    schedule_expression: str
    schedule_expression_timezone: str


class Template(_Pascal):
    """A CloudFormation template."""

    parameters: dict[str, dict[str, JsonValue]]
    resources: dict[str, dict[str, JsonValue]]
