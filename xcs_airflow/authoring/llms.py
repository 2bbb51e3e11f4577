"""`llm`: a question to a language model as a step, written as a template or as a function that writes the prompt.

It knows prompts, output types and their settings; it does not know providers, and reaches the runtime only to ask at once.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar, Unpack, get_args, overload

from pydantic import JsonValue, TypeAdapter, ValidationError

from xcs_airflow.authoring.annotations import adapter_of, schema_of, type_name
from xcs_airflow.authoring.conversion import to_json
from xcs_airflow.authoring.places import place_here, place_of_function, user_frame
from xcs_airflow.authoring.settings import SettingsReader, dollars, operation_fields
from xcs_airflow.authoring.signature import Signature, first_line, refuse_async, refuse_unnamed
from xcs_airflow.authoring.steps import P, R, Step, worker_address
from xcs_airflow.authoring.template import read_prompt
from xcs_airflow.errors import ModelError, TraceError, nearest
from xcs_airflow.ir.llm_ops import BatchPolicy, LLMOperation
from xcs_airflow.ir.operation import Retry
from xcs_airflow.manifest import CacheRule, ModelCall, OnOrphan
from xcs_airflow.values import Hole, Message, Prompt

if TYPE_CHECKING:
    from xcs_airflow.authoring.trace import Trace
    from xcs_airflow.ir.operation import Operation
    from xcs_airflow.runtime.calls import Caller

T = TypeVar("T")


class LLMSettings(TypedDict, total=False):
    """What `llm` can be told. All of it is optional.

    Attributes:
        system: The system message, a template too; for a template only.
        temperature: Sampling temperature; 0 makes answers repeatable, and so cached. None leaves it to the provider.
        max_tokens: Longest answer in tokens.
        seed: Sampling seed.
        cacheable: Whether the same request may be answered from memory; by default if `temperature` is 0 or `seed` is set.
        batchable: Whether calls may be grouped with others; they may by default.
        pack: How many items may be asked in one request, at most. Only by request, because answers change: they get worse and depend on the
            place of the item; more than 5 are not advised. By default each item has a request of its own.
        mechanism: `"provider_batch"` makes the calls through the provider's batch API, `"packed"` asks for `pack` items in one request; by
            default calls are made at once, and the optimiser decides whether items that may be packed are.
        on_orphan: What to do about a batch that may or may not have been submitted: `"fail"`, which asks a person, or `"resubmit"`,
            which perhaps pays twice.
        quality_sensitive: Whether rewrites that can change answers are forbidden.
        input_tokens: Input tokens of one call, expected.
        output_tokens: Output tokens of one call, expected.
        latency_s: Seconds one call takes, expected.
        cost_usd: Price of one call in US dollars, instead of the price table's.
        cpu: Virtual CPUs of its task; by default the optimiser chooses what it runs on.
        memory_mib: Memory of its task in MiB.
        gpu: Number of GPUs, for a model that runs in its task.
        gpu_type: The accelerator's name at the platform, as in `nvidia-l4`.
        retries: How often its task is started again when it fails for a passing reason, or a `Retry`.
        timeout: How long one start of its task may take: `"10m"`, or seconds.
        secrets: Environment variables that the platform fills from its secret store: variable to the secret's name there.
        env: Environment variables in plain text.
        image: Container image; by default the bundle's.
        name: What to call its operations; by default the function's name, or the template's variable's.
        description: One line for people; by default the docstring's first.
    """

    system: str
    temperature: float | None
    max_tokens: int
    seed: int
    cacheable: bool
    batchable: bool
    pack: int
    mechanism: Literal["concurrent", "packed", "provider_batch"]
    on_orphan: OnOrphan
    quality_sensitive: bool
    input_tokens: int
    output_tokens: int
    latency_s: float
    cost_usd: str | float | Decimal
    cpu: float
    memory_mib: int
    gpu: int
    gpu_type: str
    retries: int | Retry
    timeout: str | float
    secrets: Mapping[str, str]
    env: Mapping[str, str]
    image: str
    name: str
    description: str


class LLM(Step[P, R]):
    """A question to a model as a step; made by `llm`.

    Args:
        settings: The fields of its operations, but for id and inputs; with the prompt, unless a function writes it.
        output: The type of the answer; `Any` takes the return annotation of the function, and text without one.
        func: The function that writes the prompt.
        name: What to call its operations.
        home: The names of the module it was made in, to find the variable that holds it.
    """

    def __init__(
        self,
        settings: LLMOperation,
        output: Any,
        *,
        func: Callable[..., Any] | None = None,
        name: str | None = None,
        home: Mapping[str, Any] | None = None,
    ) -> None:
        if func is not None:
            functools.update_wrapper(self, func)
        self._settings = settings
        self._output = output
        self._func = func
        self._name = name
        self._home = home or {}
        self._caller: Caller | None = None

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = self._name or name

    def __repr__(self) -> str:
        return f"<llm {self.step_name}: {self._settings.metadata.model}>"

    @property
    def step_name(self) -> str:
        """The given name, the function's, or that of the variable that holds the template."""
        if self._name is not None:
            return self._name
        if self._func is not None:
            return self._func.__name__
        self._name = next((name for name, thing in self._home.items() if thing is self), None)
        if self._name is not None:
            return self._name
        frame = user_frame()
        return next((name for name, thing in (frame.f_locals if frame else {}).items() if thing is self), "llm")

    @property
    def function(self) -> Callable[..., Any] | None:
        """The function that writes the prompt; None for a template."""
        return self._func

    @cached_property
    def signature(self) -> Signature:
        """The prompt's inputs and the type of the answer."""
        if self._func is None:
            # The template's inputs go before the system message's, as its argument does.
            messages = reversed(self._settings.prompt.messages if self._settings.prompt else ())
            names = [part.input for message in messages for part in message.parts if isinstance(part, Hole)]
            return Signature.of_names(dict.fromkeys(names), self._output)
        signature = Signature.of_function(self._func, self._place)
        output = signature.returns if self._output is Any else self._output
        return dataclasses.replace(signature, returns=str if output is Any else output)

    def operation(self) -> LLMOperation:
        """One call of it, but for its id, inputs, place and code.

        Raises:
            TraceError: A worker could not find the function that writes the prompt, or answers of the output type are not JSON.
        """
        address = worker_address(self._func) if self._func else None
        return self._settings.model_copy(update={"prompt_func": address, "output_schema": self._schema})

    def _recorded(self, operation_id: str, values: Mapping[str, Any], trace: Trace) -> Operation:
        """An operation with a group of its own, where its author chose how its calls are made."""
        operation = super()._recorded(operation_id, values, trace)
        policy = self._settings.batch
        return operation if policy is None else operation.model_copy(update={"batch": policy.model_copy(update={"group": operation_id})})

    def bind(self, positional: Sequence[Any], named: Mapping[str, Any], place: str | None) -> dict[str, Any]:
        """The value of every input by name.

        Raises:
            TraceError: The arguments do not fit; carries every finding.
        """
        if self._func is None and not self.signature.inputs and (positional or named):
            raise TraceError.because("XCS107", function=self.step_name, place=place)
        return super().bind(positional, named, place)

    def run(self, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
        """The model's answers, in their types.

        Raises:
            ModelError: The model gave no usable answer.
        """
        prompts = [self._prompt_of(row) for row in rows]
        if self._func is None and prompts:  # a template gives every row the same
            return [self._decoded(answer) for answer in self._ask(prompts[0][0], [inputs for _, inputs in prompts])]
        answers: list[Any] = [None] * len(rows)
        for shape in dict.fromkeys(prompt for prompt, _ in prompts):
            places = [index for index, (prompt, _) in enumerate(prompts) if prompt == shape]
            for index, answer in zip(places, self._ask(shape, [prompts[index][1] for index in places]), strict=True):
                answers[index] = self._decoded(answer)
        return answers

    def _ask(self, prompt: Prompt, rows: list[dict[str, Any]]) -> list[Any]:
        caller = self._caller
        if caller is None or prompt is not self._settings.prompt:
            caller = self._caller_for(prompt)
        return caller.ask(rows)

    def _caller_for(self, prompt: Prompt) -> Caller:
        from xcs_airflow.ir.identity import request_fields  # noqa: PLC0415  # only who asks a model needs it
        from xcs_airflow.runtime.calls import Caller  # noqa: PLC0415  # the same

        fields: dict[str, Any] = request_fields(self._settings)
        call = ModelCall(prompt=prompt, output_schema=self._schema, **fields)
        cache = CacheRule() if self._settings.metadata.is_deterministic else None
        caller = Caller(call, cache, name=self.step_name)
        if prompt is self._settings.prompt:
            self._caller = caller
        return caller

    def _prompt_of(self, inputs: Mapping[str, Any]) -> tuple[Prompt, dict[str, Any]]:
        """A prompt and the inputs to fill it with. What a function wrote becomes the only input of each message."""
        if self._func is None:
            return self._settings.prompt or Prompt(messages=()), {name: to_json(value) for name, value in inputs.items()}
        written = self._func(**inputs)
        messages = [{"role": "user", "content": written}] if isinstance(written, str) else written
        try:
            holes = tuple(Message(role=message["role"], parts=(Hole(input=str(i)),)) for i, message in enumerate(messages))
            return Prompt(messages=holes), {str(i): _TEXT.validate_python(message["content"]) for i, message in enumerate(messages)}
        except (ValidationError, TypeError, KeyError) as error:
            raise TraceError.because("XCS115", function=self.step_name, value=written, place=self._place) from error

    def _decoded(self, answer: Any) -> Any:
        if self._schema is None:
            return answer
        try:
            return adapter_of(self.signature.returns).validate_python(answer)
        except ValidationError as error:
            model = self._settings.metadata.model
            raise ModelError.because("XCS704", model=model, reason=str(error), answer=str(answer)[:80]) from error

    @cached_property
    def _schema(self) -> dict[str, JsonValue] | None:
        returns = self.signature.returns
        if returns is str:
            return None
        if returns in (Any, object, NoneType):
            raise TraceError.because("XCS108", type=type_name(returns), function=self.step_name, place=self._place)
        return schema_of(returns, self.step_name, self._place)

    @property
    def _place(self) -> str | None:
        return place_of_function(self._func) if self._func else None


@overload
def llm(model: str, template: str, **settings: Unpack[LLMSettings]) -> LLM[..., str]: ...
@overload
def llm(model: str, template: str, *, output: type[T], **settings: Unpack[LLMSettings]) -> LLM[..., T]: ...
@overload
def llm(model: str, template: str, *, output: Any, **settings: Unpack[LLMSettings]) -> LLM[..., Any]: ...
@overload
def llm(model: str, *, output: type[T], **settings: Unpack[LLMSettings]) -> Callable[[Callable[P, object]], LLM[P, T]]: ...
@overload
def llm(model: str, *, output: Any = ..., **settings: Unpack[LLMSettings]) -> Callable[[Callable[P, R]], LLM[P, R]]: ...
def llm(model: str, template: str | None = None, *, output: Any = Any, **settings: Unpack[LLMSettings]) -> Any:
    """Make a question to a language model a step of pipelines.

    As a template: `classify = llm("openai/gpt-4.1-mini", "Which team? {ticket}", output=Literal["billing", "bug"])`, where
    `{ticket}` is an input and every other brace is text. Or as decorator of a function that returns the prompt, as text or as a
    list of messages, and whose return annotation is the type of the answer.

    Args:
        model: `provider/name`, as in `openai/gpt-4.1-mini`.
        template: The prompt; without one, a decorator is returned.
        output: The type of the answer: text by default; anything pydantic can describe as JSON.
        **settings: See `LLMSettings`.

    Raises:
        TraceError: A setting is not valid, or a worker could not call the function; carries every finding.
    """
    if template is not None:
        prompt = read_prompt(template, settings.get("system"))
        home = sys._getframe(1).f_globals  # noqa: SLF001  # the documented way to the caller
        operation = _operation(model, settings, place_here(), prompt=prompt)
        return LLM(operation, str if output is Any else output, name=settings.get("name"), home=home)

    def decorate(func: Callable[..., Any]) -> LLM[..., Any]:
        place = place_of_function(func)
        refuse_unnamed(func, "llm", place)
        refuse_async(func, "llm", place)
        operation = _operation(model, settings, place, description=first_line(func))
        return LLM(operation, output, func=func, name=settings.get("name"))

    return decorate


def _operation(model: str, settings: LLMSettings, place: str | None, **fields: Any) -> LLMOperation:
    reader = SettingsReader("llm", place)
    reader.check_names(settings, LLMSettings.__annotations__)
    if "prompt" not in fields and "system" in settings:
        reader.refuse("system", settings["system"], "a function writes this prompt; let it return a list of messages")
    cost = reader.read("cost_usd", settings.get("cost_usd"), dollars)
    metadata: dict[str, object] = {"model": model, "estimated_cost_usd": cost}
    metadata |= {field: settings[name] for name, field in _METADATA.items() if name in settings}  # type: ignore[literal-required]
    metadata["max_pack"] = pack = _pack(settings, reader)
    fields["batch"] = _batch(settings, pack, reader)
    return reader.build(LLMOperation, {"id": "llm", "metadata": metadata, **fields, **operation_fields(settings, reader)})


def _pack(settings: LLMSettings, reader: SettingsReader) -> int:
    """How many items may be asked in one request."""
    pack = settings.get("pack", 1)
    if not isinstance(pack, int) or isinstance(pack, bool) or pack < 1:
        reader.refuse("pack", pack, "it is not a number of items", "write pack=5")
        return 1
    if pack == 1:
        return 1
    for setting in ("quality_sensitive", "batchable"):
        given = settings.get(setting, setting == "batchable")
        if given is (setting == "quality_sensitive"):
            reader.refuse("pack", pack, f"{setting}={given} says that its items are asked alone", "drop one of the two")
    if settings.get("mechanism") == "provider_batch":
        reader.refuse("pack", pack, "requests of a provider's batch ask for one item each", "drop one of the two")
    return pack


def _batch(settings: LLMSettings, pack: int, reader: SettingsReader) -> BatchPolicy | None:
    """The mechanism that the author chose; None when it is the optimiser's to choose. The group gets its name with the operation."""
    mechanism, on_orphan = settings.get("mechanism", "concurrent"), settings.get("on_orphan", "fail")
    if mechanism not in _MECHANISMS:
        reader.refuse("mechanism", mechanism, "there is no such way to make calls", nearest(str(mechanism), _MECHANISMS))
    if on_orphan not in get_args(OnOrphan):
        reader.refuse("on_orphan", on_orphan, "it is not something to do", nearest(str(on_orphan), get_args(OnOrphan)))
    elif "on_orphan" in settings and mechanism != "provider_batch":
        reader.refuse("on_orphan", on_orphan, "only batches can be orphans", 'add mechanism="provider_batch"')
    if mechanism == "packed" and pack == 1:
        reader.refuse("mechanism", mechanism, "nothing says how many items one request may ask for", "add pack=5")
    if mechanism == "packed":
        return BatchPolicy(group="llm", mechanism="packed", in_flight=_PACKS_IN_FLIGHT, pack_size=pack)
    if mechanism != "provider_batch" or on_orphan not in get_args(OnOrphan):
        return None
    return BatchPolicy(group="llm", mechanism="provider_batch", on_orphan=on_orphan)


_TEXT = TypeAdapter(str)
_MECHANISMS = ("concurrent", "packed", "provider_batch")
_PACKS_IN_FLIGHT = 16
_METADATA = {
    "temperature": "temperature",
    "max_tokens": "max_tokens",
    "seed": "seed",
    "cacheable": "cacheable",
    "batchable": "batchable",
    "quality_sensitive": "quality_sensitive",
    "input_tokens": "estimated_input_tokens",
    "output_tokens": "estimated_output_tokens",
    "latency_s": "estimated_latency_s",
}
