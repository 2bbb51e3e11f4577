"""How long one call or one function takes: declared by the author, else from dated assumptions.

It knows seconds of one call and which calls can wait side by side; it does not know how many there are.
"""

from __future__ import annotations

from typing import NamedTuple

from xcs_airflow.cost.assumptions import Assumed
from xcs_airflow.cost.figures import Figure
from xcs_airflow.cost.local_models import times_as_fast
from xcs_airflow.ir.llm_ops import LLMOperation
from xcs_airflow.ir.operation import Operation


class Timed(NamedTuple):
    """How long calls took in earlier runs.

    Attributes:
        seconds: Of one.
        output_tokens: How long their answers were; None when those that are expected are like them.
    """

    seconds: Figure
    output_tokens: Figure | None = None


def call_latency(operation: LLMOperation, output_tokens: Figure, assumed: Assumed, measured: Timed | None = None) -> Figure:
    """Seconds one call takes: until the first token, and for every token of the answer.

    Args:
        operation: Who calls.
        output_tokens: The tokens of one answer.
        assumed: Takes note of what is guessed.
        measured: As earlier runs had it; of calls with other answers, by as much longer as assumptions make longer answers take.
            Calls to a model inside the process wait for each other, so theirs says nothing about one.
    """
    if measured is not None and not is_local(operation):
        if measured.output_tokens is None:
            return measured.seconds
        longer = _assumed_s(operation, output_tokens, assumed).expected / _assumed_s(operation, measured.output_tokens, assumed).expected
        return measured.seconds.times(longer)
    declared = operation.metadata.estimated_latency_s
    if declared is not None:
        size = operation.items_per_request  # the answers of a pack are written one after the other
        return Figure(low=declared, expected=declared * size, high=declared * size, source="declared")
    return _assumed_s(operation, output_tokens, assumed)


def _assumed_s(operation: LLMOperation, output_tokens: Figure, assumed: Assumed) -> Figure:
    where = "local_" if is_local(operation) else ""
    faster = times_as_fast(operation.metadata.model_name, operation.resources) if where else 1.0
    first = assumed.use(f"{where}first_token_s", operation.id)
    each = assumed.use(f"{where}output_token_s", operation.id)
    return Figure(
        low=(first.low + each.low * output_tokens.low) / faster,
        expected=(first.expected + each.expected * output_tokens.expected) / faster,
        high=(first.high + each.high * output_tokens.high) / faster,
        source="assumed",
    )


def calls_at_a_time(operation: Operation, assumed: Assumed) -> int:
    """How many calls of an operation make progress at a time in one shard."""
    if not isinstance(operation, LLMOperation) or operation.batch is None or operation.func is not None:
        return 1
    if is_local(operation):
        return min(operation.batch.in_flight, round(assumed.use("local_calls_at_a_time", operation.id).expected))
    return operation.batch.in_flight


def goes_through_batch_api(operation: Operation) -> bool:
    """Whether its calls are made through the provider's batch API, so that it waits for the batch and not for each call."""
    return isinstance(operation, LLMOperation) and operation.batch is not None and operation.batch.mechanism == "provider_batch"


def is_local(operation: LLMOperation) -> bool:
    """Whether the model runs in the task's own process, so that its calls compute where others wait."""
    data = operation.metadata
    return data.model.startswith("local/") if data.provider is None else data.provider == "local"


def function_latency(operation: Operation, assumed: Assumed, measured: Figure | None = None) -> Figure:
    """Seconds one run of a plain function takes; of a mapped one, for one item.

    Args:
        operation: The function.
        assumed: Takes note of what is guessed.
        measured: As earlier runs had it.
    """
    if measured is not None:
        return measured
    figure = assumed.use("function_item_s" if operation.is_mapped else "function_s", operation.id)
    if operation.timeout_s is None:
        return figure
    low, expected, high = (min(end, operation.timeout_s) for end in (figure.low, figure.expected, figure.high))
    return Figure(low=low, expected=expected, high=high, source="assumed")
