"""What an operation is, as text: what its result depends on, and how it is run.

It knows which fields decide a result; it does not know other operations, tasks or stores.
"""

from __future__ import annotations

from operator import attrgetter, is_
from typing import Any

from xcs_airflow.canonical import canonical_json
from xcs_airflow.ir.llm_ops import LLMOperation
from xcs_airflow.ir.operation import Operation

DECIDES = ("func", "code", "inputs", "map_over", "collect", "secrets", "env", "when")
"""The fields on which the result of any operation depends, beside those it reads."""

DECIDES_CALLS = ("prompt", "prompt_func", "output_schema")
"""Likewise, those that only model calls have. A part of their metadata belongs to them: `request_fields`."""

_NOTES = ("source", "description")
_fields_of_functions = attrgetter(*DECIDES)
_fields_of_calls = attrgetter(*DECIDES, *DECIDES_CALLS, "metadata")
_DECIDING = {*DECIDES, *DECIDES_CALLS}
_OTHER = {*_DECIDING, *_NOTES}
_REMEMBERED = "_what_it_computes"


def what_it_computes(operation: Operation) -> str:
    """All that decides an operation's result beside what it reads, how its answers are remembered and how many share a request.

    Returns:
        Canonical JSON: operations with the same text compute the same of the same.
    """
    fields = (_fields_of_calls if isinstance(operation, LLMOperation) else _fields_of_functions)(operation)
    # Operations are frozen, but copies take over what is remembered here, so it is remembered of which fields it was written.
    remembered: tuple[tuple[object, ...], str] | None = operation.__dict__.get(_REMEMBERED)
    if remembered is not None and all(map(is_, remembered[0], fields)):
        return remembered[1]
    document = operation.model_dump(mode="json", include=_DECIDING, exclude_defaults=True)
    if isinstance(operation, LLMOperation):
        document["request"] = request_fields(operation)
    text = canonical_json(document)
    operation.__dict__[_REMEMBERED] = (fields, text)
    return text


def how_it_runs(operation: Operation) -> str:
    """The rest of an operation, as canonical JSON; only where it was written and what is said about it is left out."""
    return canonical_json(operation.model_dump(mode="json", exclude=_OTHER, exclude_defaults=True))


def request_fields(operation: LLMOperation) -> dict[str, Any]:
    """The part of an operation's metadata that enters its requests; estimates do not."""
    data = operation.metadata
    model = data.model if data.provider is None else f"{data.provider}/{data.model_name}"
    return {"model": model, "temperature": data.temperature, "max_tokens": data.max_tokens, "seed": data.seed}
