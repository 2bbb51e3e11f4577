"""The manifest: everything the runtime needs to know about a pipeline's tasks, decided at compile time.

It knows tasks, steps and how items are spread over shards; it does not know graphs, passes, prices or platforms.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from decimal import Decimal
from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from xcs_airflow.canonical import digest, pretty_document
from xcs_airflow.values import Frozen, Prompt, Value

MANIFEST_VERSION: Literal[1] = 1

_SHAPE_DIGITS = 16
"""Of 64 bits: enough to tell the versions of one prompt apart."""

Collect = Literal["map", "flat_map", "filter"]
"""What a mapped operation does with the result of one item: keep it, spread the list it is, or keep the item if it is true."""


class ParameterSpec(Frozen):
    """A parameter of the pipeline.

    Attributes:
        name: Its name, as in the function's signature.
        has_default: Whether a run may leave it out.
        default: The value then.
        value_schema: JSON Schema of its annotation; empty when it has none.
    """

    name: str
    has_default: bool = False
    default: JsonValue = None
    value_schema: dict[str, JsonValue] = Field(default_factory=dict)


PACKER_VERSION = 1
"""Changes when many items would be asked in one request in other words, or the answer read differently. It is part of the names of
packed answers and of the fingerprints of packed steps."""

PACKED_ITEM_TOKENS = 24
"""What one item adds to a packed answer besides its own answer: `{"id": "q12", "answer": ...},` with room for indentation. Assumption."""


class PrefixRule(Frozen):
    """What is to become of the part of a prompt that all items share, where the provider has a prompt cache that wants to be told.

    Attributes:
        ttl_s: How long it stays there after it was last used: five minutes or an hour, as Anthropic offers
            (platform.claude.com/docs/en/build-with-claude/prompt-caching).
        prime: Whether one call is answered before the others begin. Calls that are made side by side do not see what others of
            them write, and neither do the requests of one batch: through a provider's batch API, a batch of one request goes first.
        prime_from: Through a batch API, from how many requests on: fewer go as they are, at once and without a mark.
    """

    ttl_s: Literal[300, 3600] = 300
    prime: bool = False
    prime_from: int = Field(default=2, ge=2)


class ModelCall(Frozen):
    """One request to a model, but for the values of its inputs.

    Attributes:
        model: `provider/name`, as in `openai/gpt-4.1-mini`.
        prompt: The prompt as data; exactly one of this and `prompt_func` is given.
        prompt_func: Address of a function that returns the prompt (text, or a list of messages).
        output_schema: JSON Schema of the answer; None means plain text.
        temperature: Sampling temperature; None leaves it to the provider.
        max_tokens: Longest answer in tokens; None leaves it to the provider.
        seed: Sampling seed; None leaves it to the provider.
        pack: The most items that are asked in one request; 1 asks for each alone.
        prefix: What is to become of the shared part of the prompt; None leaves it to the provider.
    """

    model: str
    prompt: Prompt | None = None
    prompt_func: str | None = None
    output_schema: dict[str, JsonValue] | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    pack: int = Field(default=1, ge=1)
    prefix: PrefixRule | None = None

    @cached_property
    def shape(self) -> str:
        """Digest of what its requests have in common; measurements of requests of another shape tell nothing about it."""
        return shape_of_request(
            model=self.model,
            prompt=self.prompt,
            prompt_func=self.prompt_func,
            output_schema=self.output_schema,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            seed=self.seed,
        )


def shape_of_request(
    *,
    model: str,
    prompt: Prompt | None,
    prompt_func: str | None,
    output_schema: dict[str, JsonValue] | None,
    temperature: float | None,
    max_tokens: int | None,
    seed: int | None,
) -> str:
    """Digest of what decides how long requests and answers of one operation are, but for its inputs.

    Args:
        model: Who is asked.
        prompt: The prompt as data.
        prompt_func: Address of the function that writes it.
        output_schema: JSON Schema of the answer.
        temperature: Sampling temperature.
        max_tokens: Longest answer in tokens.
        seed: Sampling seed.
    """
    written = None if prompt is None else prompt.model_dump(mode="json")
    return digest([model, written, prompt_func, output_schema, temperature, max_tokens, seed])[:_SHAPE_DIGITS]


class CacheRule(Frozen):
    """How answers of a step are remembered.

    Attributes:
        ttl_s: For how many seconds an answer is good; None means for ever.
        epoch: A word that enters every key: change it to forget everything.
    """

    ttl_s: int | None = None
    epoch: str = ""


class Step(Frozen):
    """One operation, as the runtime runs it.

    Attributes:
        id: The id of the operation.
        func: Address of the function to run; exactly one of this and `call` is given.
        call: The model to ask.
        inputs: Where each input comes from.
        map_over: The inputs whose items it runs once for each; empty runs it once.
        collect: What becomes of the result of one item.
        cache: How answers are remembered; None asks every time.
        attempts: How often one model call is tried before the task gives up.
        when: A value that must be true for the step to run.
        fingerprint: Changes when the result may change: the definition of the step and of all it depends on.
    """

    id: str
    func: str | None = None
    call: ModelCall | None = None
    inputs: dict[str, Value] = Field(default_factory=dict)
    map_over: tuple[str, ...] = ()
    collect: Collect = "map"
    cache: CacheRule | None = None
    attempts: int = 5
    when: Value | None = None
    fingerprint: str


TaskKind = Literal["run", "submit", "poll", "collect", "probe"]
"""Run steps here; or, in this order, hand their calls to a provider's batch API, wait for it, and take the answers in; or run the steps
of another task from remembered answers alone, before it is started."""

OnOrphan = Literal["resubmit", "fail"]
"""What to do when nobody can say whether a batch was submitted before a process died: perhaps pay twice, or ask a person."""


class ProviderBatch(Frozen):
    """How calls go through a provider's batch API. Limits are the provider's, looked up when compiling.

    Attributes:
        max_requests: The most requests of one batch.
        max_bytes: The largest request file of one batch.
        window_s: After how many seconds the provider gives a batch up.
        poll_every_s: How long a platform waits between two polls.
        rounds: How often requests are submitted, at most: those that came back without an answer are submitted again.
        on_orphan: What to do about a batch that may or may not have been submitted.
    """

    max_requests: int = Field(ge=1)
    max_bytes: int = Field(ge=1)
    window_s: int = Field(ge=1)
    poll_every_s: int = Field(default=60, ge=1)
    rounds: int = Field(default=2, ge=1)
    on_orphan: OnOrphan = "fail"


class Task(Frozen):
    """What a platform starts: one process that runs its steps in order.

    Attributes:
        id: Unique in the manifest.
        kind: What it does. A task of kind `poll` that is not ready ends with exit code 75; the platform waits and starts it again. One of
            kind `probe` that ends with 0 has done all that the task it is part of would do, which then is not started; however else it
            ends, that task is started.
        steps: The operations to run, in an order that respects their inputs; steps with no edge between them may run together.
            Tasks of kind `submit`, `poll` and `probe` have none of their own: they work for the steps of the task they are `part_of`.
        part_of: For `submit`, `poll` and `probe`: the id of the task that has the steps, of kind `collect` or, for a probe, `run`. A submit
            has as many shards as that; a poll or a probe has one and looks after all of them.
        provider_batch: For `collect`: how its calls go through the provider's batch API.
        shards: Into how many parts the items of its mapped steps are spread; each part is one start of the task.
        in_flight: How many model calls may wait for an answer at a time, in one shard.
        needs: The tasks that must have ended well before.
    """

    id: str
    kind: TaskKind = "run"
    steps: tuple[Step, ...] = ()
    part_of: str | None = None
    provider_batch: ProviderBatch | None = None
    shards: int = 1
    in_flight: int = 1
    needs: tuple[str, ...] = ()


class Manifest(Frozen):
    """All tasks of a pipeline.

    Attributes:
        schema_version: Of this document.
        pipeline: The name of the pipeline.
        graph_digest: SHA-256 of the optimised graph.
        parameters: What a run may set.
        tasks: In an order that respects `needs`.
        output: The value of the pipeline as a whole.
        budget_usd: What all calls of one run may cost together, in US dollars; None means no limit.
    """

    schema_version: Literal[1] = MANIFEST_VERSION
    pipeline: str
    graph_digest: str
    parameters: tuple[ParameterSpec, ...] = ()
    tasks: tuple[Task, ...]
    output: Value | None = None
    budget_usd: Decimal | None = None

    @cached_property
    def task_by_id(self) -> dict[str, Task]:
        """The tasks by their ids."""
        return {task.id: task for task in self.tasks}

    @cached_property
    def task_of_step(self) -> dict[str, Task]:
        """The task that runs each operation, by the operation's id."""
        return {step.id: task for task in self.tasks for step in task.steps}

    def steps(self) -> Iterator[Step]:
        """Every step, in task order."""
        for task in self.tasks:
            yield from task.steps

    def to_dict(self) -> dict[str, Any]:
        """The JSON form; what equals its default is left out, the version never."""
        return {"schema_version": self.schema_version, **self.model_dump(mode="json", exclude_defaults=True)}

    def to_json(self) -> str:
        """`manifest.json` as text: sorted keys, the same bytes every time."""
        return self._text

    @cached_property
    def _text(self) -> str:
        """Written once for all targets."""
        return pretty_document(self.to_dict())


class TaskOutline(BaseModel):
    """What a platform has to know of a task; its fields are those of `Task`."""

    model_config = ConfigDict(frozen=True)

    id: str
    kind: TaskKind = "run"
    part_of: str | None = None
    provider_batch: ProviderBatch | None = None
    shards: int = 1
    needs: tuple[str, ...] = ()


class Outline(BaseModel):
    """What a platform has to know of a manifest, read in a fraction of the time.

    Attributes:
        tasks: In an order that respects `needs`.
    """

    model_config = ConfigDict(frozen=True)

    tasks: tuple[TaskOutline, ...]


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of `manifest.json`."""
    schema = Manifest.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "xcs-airflow manifest", **schema}


def shard_of(key: str, shards: int) -> int:
    """The shard that owns an item.

    Only the first part of a key counts, so what an item spreads into stays in the shard of the item and chains of mapped
    operations depend shard by shard.

    Args:
        key: The item's position path, as in `17` or `17/0`.
        shards: How many shards there are.
    """
    if shards == 1:
        return 0
    root = key.partition("/")[0]
    return int.from_bytes(hashlib.sha256(root.encode()).digest()[:8], "big") % shards
