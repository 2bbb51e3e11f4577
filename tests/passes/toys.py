"""Small functions and a fake model that graphs in these tests are made of, and a run that counts what it calls."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from xcs_airflow.ir import (
    CachePolicy,
    Constant,
    Graph,
    Hole,
    LLMMetadata,
    LLMOperation,
    Message,
    Operation,
    Prompt,
    Ref,
    Resources,
    evaluate,
)
from xcs_airflow.values import Frozen, Value


def words(n: int = 3) -> list[str]:
    return [f"word {i % 2}" for i in range(n)]


def upper(x: Any, y: Any = "") -> str:
    return f"{x}{y}".upper()


def is_even(x: Any) -> bool:
    return len(str(x)) % 2 == 0


def split(x: Any) -> list[str]:
    return [str(x)[:3], str(x)[3:]]


def join(**inputs: Any) -> str:
    return json.dumps(inputs)


def ask_about(x: Any) -> str:
    return f"What about {x}?"


_PURE = {func.__name__: func for func in (words, upper, is_even, split, join, ask_about)}
FUNCTIONS = {f"toys:{prefix}{name}": func for name, func in _PURE.items() for prefix in ("", "impure_")}


def plain(name: str, func: str = "join", *, pure: bool = False, **fields: Any) -> Operation:
    """A plain function; impure ones have addresses of their own, so that their calls can be counted."""
    inputs, fields = _inputs(fields)
    return Operation(id=name, func=f"toys:{'' if pure else 'impure_'}{func}", pure=pure, inputs=inputs, **fields)


def llm(name: str, text: str = "Which team? ", *, model: str = "openai/gpt-4.1-mini", **fields: Any) -> LLMOperation:
    """A prompt with its one input `x` at the end; fields of the metadata are found by their names."""
    inputs, fields = _inputs(fields)
    known = {key: fields.pop(key) for key in list(fields) if key in LLMMetadata.model_fields}
    body = {} if {"func", "prompt_func"} & set(fields) else {"prompt": Prompt(messages=(Message(parts=(text, *map(_hole, inputs))),))}
    return LLMOperation(id=name, inputs=inputs, metadata=LLMMetadata(model=model, **known), **body, **fields)


def on_a_gpu(name: str, text: str = "Which team? ", **fields: Any) -> LLMOperation:
    """Calls of a local model on a GPU, whose answers are remembered."""
    gpu = Resources(cpu=4, memory_mib=16384, gpu=1, gpu_type="nvidia-l4")
    settings = {"temperature": 0, "max_tokens": 16, "resources": gpu, "cache": CachePolicy(), **fields}
    return llm(name, text, model="local/qwen2.5-7b-instruct", **settings)


def _hole(name: str) -> Hole:
    return Hole(input=name)


def _inputs(fields: dict[str, Any]) -> tuple[dict[str, Value], dict[str, Any]]:
    """`x` is read as a whole, `each` is mapped over; texts name operations."""
    inputs: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for name, value in fields.items():
        if name == "each":
            inputs["x"] = _value(value)
            rest["map_over"] = ("x",)
        elif name in ("x", "y", "n"):
            inputs[name] = _value(value)
        else:
            rest[name] = value
    return inputs, rest


def _value(value: Any) -> Any:
    if isinstance(value, str):
        return Ref(operation=value)
    return value if isinstance(value, Frozen) else Constant(constant=value)


@dataclass
class Run:
    """What a graph computed, and what it called.

    Attributes:
        output: Its value.
        model_calls: Requests with how often each was made.
        impure_calls: Calls of functions that are not declared pure.
    """

    output: Any
    model_calls: Counter[str]
    impure_calls: Counter[str]


def run(graph: Graph) -> Run:
    """Compute a graph with the reference interpreter and a fake model.

    The model gives the same answer to the same request only if the operation is declared deterministic, so two calls that are
    wrongly made one change the output.
    """
    model_calls: Counter[str] = Counter()
    impure_calls: Counter[str] = Counter()

    def ask_model(operation: LLMOperation, messages: list[dict[str, str]]) -> Any:
        data = operation.metadata
        request = json.dumps([data.provider_name, data.model_name, data.temperature, data.max_tokens, data.seed, messages])
        model_calls[request] += 1
        own = "" if data.is_deterministic else operation.id
        answer = hashlib.sha256(f"{request}{own}".encode()).hexdigest()[:6]
        return [answer[:3], answer[3:]] if operation.collect == "flat_map" else answer

    def find(address: str) -> Any:
        func = FUNCTIONS[address]

        def counted(**inputs: Any) -> Any:
            if address.startswith("toys:impure_"):
                impure_calls[json.dumps([address, inputs])] += 1
            return func(**inputs)

        return counted

    return Run(evaluate(graph, ask_model=ask_model, find=find), model_calls, impure_calls)
