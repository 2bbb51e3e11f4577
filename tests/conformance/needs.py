"""For every feature the smallest graph whose plan asks for it, twice where a task can ask."""

from __future__ import annotations

from xcs_airflow.exporting.port import Feature
from xcs_airflow.ir import (
    BatchPolicy,
    CachePolicy,
    Constant,
    Graph,
    LLMMetadata,
    LLMOperation,
    Operation,
    ParameterSpec,
    PipelinePolicy,
    Prompt,
    Ref,
    Resources,
    Retry,
)
from xcs_airflow.values import Message


def _two(**fields) -> Graph:
    return Graph([_one("first", **fields), _one("second", **fields)], name="needs", source="pipeline.py:1")


def _one(name: str, **fields) -> Operation:
    return Operation(
        id=name, func="pipeline:load", retry=fields.pop("retry", Retry(attempts=1)), source=f"pipeline.py:{len(name)}", **fields
    )


def _calls() -> Graph:
    prompt = Prompt(messages=(Message(parts=("Hello",)),))
    calls = [
        LLMOperation(id=name, prompt=prompt, metadata=LLMMetadata(model="openai/gpt-4.1-mini"), source="p.py:1") for name in ("a", "b")
    ]
    return Graph(calls, name="needs", source="pipeline.py:1")


def _batches() -> Graph:
    calls = [call.model_copy(update={"batch": BatchPolicy(group=call.id, mechanism="provider_batch")}) for call in _calls()]
    return Graph(calls, name="needs", source="pipeline.py:1")


def _probes() -> Graph:
    calls = [call.model_copy(update={"cache": CachePolicy(), "probe": True}) for call in _calls()]
    return Graph(calls, name="needs", source="pipeline.py:1")


def _edges() -> Graph:
    inputs = {"x": Ref(operation="first")}
    return Graph([_one("first"), _one("second", inputs=inputs), _one("third", inputs=inputs)], name="needs", source="pipeline.py:1")


NEEDS: dict[Feature, Graph] = {
    "schedule": _two().replace(policy=PipelinePolicy(schedule="0 6 * * *")),
    "timezone": _two().replace(policy=PipelinePolicy(schedule="0 6 * * *", timezone="Europe/Berlin")),
    "parameters": _two().replace(parameters=[ParameterSpec(name="path", has_default=True, default="x")]),
    "edges": _edges(),
    "shards": _two(shards=2),
    "retries": _two(retry=Retry(attempts=2)),
    "timeout": _two(timeout_s=600),
    "gpu": _two(resources=Resources(gpu=1)),
    "secrets": _two(secrets={"OPENAI_API_KEY": "openai-key"}),
    "environment": _two(env={"GREETING": "hello"}),
    "image_per_task": _two(image="ghcr.io/acme/own:1"),
    "conditions": _two(when=Constant(constant=True)),
    "rate_limit_pools": _calls(),
    "provider_batch": _batches(),
    "probe": _probes(),
}

NEVER_ASKED: frozenset[Feature] = frozenset({"retry_by_exit_code", "retry_delay", "cpu_and_memory", "priority"})
"""What every plan has in some measure, so that no plan asks for it; exporters say what they make of it."""

SETTINGS = {("airflow", "gpu"): {"gpu_queue": "gpu"}}
"""What a target must be told before it can do a feature it supports."""
