"""Runs as a profile has them, in few words."""

from xcs_airflow.cost.distribution import Distribution
from xcs_airflow.cost.profile import OperationRun, PipelineProfile, RunProfile
from xcs_airflow.manifest import ModelCall


def shape(operation):
    """The shape of an operation's requests, as a worker computes it."""
    data = operation.metadata
    fields = {"temperature": data.temperature, "max_tokens": data.max_tokens, "seed": data.seed}
    return ModelCall(
        model=data.model, prompt=operation.prompt, prompt_func=operation.prompt_func, output_schema=operation.output_schema, **fields
    ).shape


def asked(operation, into=(), out=(), seconds=(), **facts):
    """What an operation that asks a model did: tokens and seconds of each call."""
    return OperationRun(
        model=operation.metadata.model,
        shape=shape(operation),
        **{"rows": len(into), "calls": len(into), **facts},
        input_tokens=Distribution.of(into),
        output_tokens=Distribution.of(out),
        call_ms=Distribution.of(round(each * 1000) for each in seconds),
    )


def run(name="one", ended="2026-11-22T10:00:00Z", **operations):
    return RunProfile(run_id=name, ended=ended, operations=operations)


def profile(*runs):
    return PipelineProfile(runs=runs)
