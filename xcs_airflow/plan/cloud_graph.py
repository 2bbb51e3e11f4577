"""The plan: a platform-neutral, versioned document of tasks, edges, resources, money, time and decisions.

It knows everything an exporter or a reviewer needs; it does not know any platform, nor how it was computed.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any, Literal

from pydantic import Field, computed_field

from xcs_airflow.canonical import pretty_document
from xcs_airflow.cost.accuracy import Accuracy
from xcs_airflow.cost.figures import NOTHING, Figure, MeasuredOperation, Money, OperationEstimate, PriceSource
from xcs_airflow.ir.graph import Decision, PipelinePolicy
from xcs_airflow.ir.llm_ops import Mechanism
from xcs_airflow.ir.operation import Resources, Retry
from xcs_airflow.manifest import Manifest, ParameterSpec, TaskKind
from xcs_airflow.values import Frozen

PLAN_VERSION: Literal[1] = 1


class PlannedOperation(Frozen):
    """One operation and what it is expected to do.

    Attributes:
        id: The operation's id.
        kind: `python` or `llm`.
        task: The task that runs it.
        needs: The operations whose results it reads.
        model: The model it asks; None for a plain function.
        mechanism: How its calls are made; None when each is made alone.
        is_mapped: Whether it runs once per item.
        is_cached: Whether its answers are remembered.
        description: One line for people.
        source: `file:line` where it was written.
        estimate: Calls, tokens, money and time.
    """

    id: str
    kind: Literal["python", "llm"]
    task: str
    needs: tuple[str, ...] = ()
    model: str | None = None
    mechanism: Mechanism | None = None
    is_mapped: bool = False
    is_cached: bool = False
    description: str = ""
    source: str | None = None
    estimate: OperationEstimate


class Wait(Frozen):
    """How a platform waits for what a task asks about: it starts the task, and again as long as it ends with exit code 75.

    Attributes:
        every_s: Seconds between two starts, at first.
        at_most_s: Seconds after which it gives up: no provider takes longer.
    """

    every_s: int
    at_most_s: int

    def pauses_s(self, growth: float, longest_s: int) -> tuple[int, ...]:
        """The waits between the starts in seconds, each longer than the one before, until they are as long as it may take.

        Args:
            growth: What each is multiplied by.
            longest_s: No wait is longer than this, in seconds, unless the first one is.
        """
        pauses: list[int] = []
        waited, each = 0, float(self.every_s)
        while waited < self.at_most_s:
            pauses.append(math.ceil(each))
            waited, each = waited + pauses[-1], max(min(each * growth, longest_s), self.every_s)
        return tuple(pauses)


class Spares(Frozen):
    """What a probe may spare: if it ends well, with exit code 0, the other task is done and not started; however else it ends, it is.

    Attributes:
        task: The id of the other task.
        chance: How likely that is, from 0 to 1.
    """

    task: str
    chance: Figure


class PlannedTask(Frozen):
    """What a platform starts, once or once per shard.

    Attributes:
        id: Unique in the plan; letters, digits, `_`, `-`, `.`.
        kind: What it does; the manifest tells it, `plan.json` does not.
        wait: How it is waited for; only a task of kind `poll` has one. Like `kind` it is not part of `plan.json`.
        spares: Which task need not be started when this one ends well; only a task of kind `probe` has one, and `plan.json` leaves it out
            of all others.
        operations: The operations it runs, or for which it submits, polls or probes.
        needs: The tasks that must have ended well before.
        shards: How many times it is started, each with its part of the items.
        in_flight: How many model calls may wait at a time, in one shard.
        resources: What one start may use.
        retry: How often one start is tried.
        timeout_s: Seconds after which one start is ended; None leaves it to the platform's default.
        secrets: Variable name to secret reference.
        env: Plain environment variables.
        image: Container image; None takes the bundle's.
        providers: The model providers it calls: what to share a rate limit by.
        priority: Tasks on the longest path have the highest.
        description: One line for people.
        cost_usd: Of all its shards; calls that go through a batch API are paid for by the task that collects them.
        duration_s: From its first start to its last end; all the time of a batch is that of the task that polls.
    """

    id: str
    kind: TaskKind = Field(default="run", exclude=True)
    wait: Wait | None = Field(default=None, exclude=True)
    spares: Spares | None = None
    operations: tuple[str, ...]
    needs: tuple[str, ...] = ()
    shards: int = 1
    in_flight: int = 1
    resources: Resources = Resources()
    retry: Retry = Retry()
    timeout_s: int | None = None
    secrets: dict[str, str] = Field(default_factory=dict)
    env: dict[str, str] = Field(default_factory=dict)
    image: str | None = None
    providers: tuple[str, ...] = ()
    priority: int = 0
    description: str = ""
    cost_usd: Money = Money()
    duration_s: Figure = NOTHING

    @property
    def is_a_question(self) -> bool:
        """Whether exit code 75 is an answer of it: whoever asked goes by it, and nobody tries the task again for it alone."""
        return self.wait is not None or self.spares is not None


class Totals(Frozen):
    """The run as a whole.

    Attributes:
        calls_before: Model calls that one call per item would make.
        calls: Model calls after the passes, with an empty cache.
        input_tokens: Of all calls.
        output_tokens: Of all calls.
        cost_usd: Of all calls.
        duration_s: Along the longest path.
        compute_usd: Of the machines that all tasks run on; None, and left out of `plan.json`, when the target is not known.
        tasks: How many tasks a platform sees.
        starts: How many times it starts one, shards counted; one that polls counts as if it were started once.
    """

    calls_before: int
    calls: int
    input_tokens: Figure
    output_tokens: Figure
    cost_usd: Money
    duration_s: Figure
    compute_usd: Money | None = None
    tasks: int
    starts: int


class ProfileUse(Frozen):
    """The profile a plan was made with.

    Attributes:
        digest: SHA-256 of its part about the pipeline.
        runs: How many runs it holds.
        since: When the first of them ended, in UTC.
        until: When the last of them ended, in UTC.
        operations: What the runs measured of each operation that asks a model, as far as it still holds.
        accuracy: How far off what had been expected of the last run was; None when nobody wrote that down.
    """

    digest: str
    runs: int
    since: str
    until: str
    operations: tuple[MeasuredOperation, ...] = ()
    accuracy: Accuracy | None = None


class Edge(Frozen):
    """One task waits for another.

    Attributes:
        before: The task that must have ended well.
        after: The task that waits for it.
    """

    before: str
    after: str


class CloudGraph(Frozen):
    """The plan of a pipeline; `plan.json` is its JSON form.

    Attributes:
        schema_version: Of this document.
        name: The pipeline's name.
        source: `file:line` where it was written.
        target: For which platform it was made; None, and left out of `plan.json`, when it suits all alike.
        graph_digest: SHA-256 of the graph it was lowered from.
        policy: Schedule, budget, deadline and objective.
        parameters: What a run may set.
        operations: In graph order.
        tasks: In an order that respects `needs`.
        decisions: What the passes considered, applied or skipped, and why.
        totals: The run as a whole.
        assumptions: What was guessed, in sentences.
        prices: Where prices come from.
        profile: What earlier runs measured and how far off the last estimate was; only a plan that was made with a profile has it.
        manifest: What the runtime reads; a document of its own, not part of `plan.json`.
    """

    schema_version: Literal[1] = PLAN_VERSION
    name: str
    source: str | None = None
    target: str | None = None
    graph_digest: str
    policy: PipelinePolicy
    parameters: tuple[ParameterSpec, ...] = ()
    operations: tuple[PlannedOperation, ...]
    tasks: tuple[PlannedTask, ...]
    decisions: tuple[Decision, ...] = ()
    totals: Totals
    assumptions: tuple[str, ...] = ()
    prices: PriceSource
    profile: ProfileUse | None = None
    manifest: Manifest = Field(exclude=True)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def edges(self) -> tuple[Edge, ...]:
        """Which task waits for which."""
        return tuple(Edge(before=need, after=task.id) for task in self.tasks for need in task.needs)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form: `plan.json`."""
        unknown: dict[str, Any] = {name: True for name in ("profile", "target") if getattr(self, name) is None}
        if self.totals.compute_usd is None:
            unknown["totals"] = {"compute_usd"}
        document = self.model_dump(mode="json", exclude=unknown)
        for task in document["tasks"]:
            if task["spares"] is None:
                del task["spares"]
        return document

    def to_json(self) -> str:
        """`plan.json` as text: sorted keys, the same bytes every time."""
        return self._text

    @cached_property
    def _text(self) -> str:
        """Written once for all targets."""
        return pretty_document(self.to_dict())

    @cached_property
    def probe_of(self) -> dict[str, PlannedTask]:
        """The probe of every task that has one, by that task's id."""
        return {task.spares.task: task for task in self.tasks if task.spares is not None}

    @cached_property
    def source_of(self) -> dict[str, str | None]:
        """`file:line` of every operation, by its id."""
        return {operation.id: operation.source for operation in self.operations}


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of `plan.json`."""
    schema = CloudGraph.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "xcs-airflow plan", **schema}
