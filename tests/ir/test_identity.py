"""What decides a result, what only decides how it comes about, and that a copy does not keep what was remembered of its original."""

from __future__ import annotations

import pytest

from xcs_airflow.ir import LLMMetadata, LLMOperation, Operation, Ref
from xcs_airflow.ir.identity import DECIDES, DECIDES_CALLS, how_it_runs, request_fields, what_it_computes
from xcs_airflow.ir.llm_ops import CachePolicy
from xcs_airflow.ir.operation import Resources
from xcs_airflow.values import Constant, Message, Prompt

HOW = {
    "id", "kind", "pure", "items", "distinct_items", "shards", "fused", "resources", "retry", "timeout_s", "image", "probe",
    "metadata", "cache", "batch", "prefix",
}  # fmt: skip
NOTES = {"source", "description"}

CALL = LLMOperation(
    id="ask",
    inputs={"text": Ref(operation="load")},
    prompt=Prompt(messages=(Message(parts=("Which one?",)),)),
    metadata=LLMMetadata(model="openai/gpt-4.1-mini", temperature=0, estimated_output_tokens=5),
)


def test_every_field_either_decides_the_result_or_how_it_comes_about_or_is_a_note():
    decides = {*DECIDES, *DECIDES_CALLS}
    assert decides | HOW | NOTES == LLMOperation.model_fields.keys()
    assert not decides & (HOW | NOTES)


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt": Prompt(messages=(Message(parts=("Which other one?",)),))},
        {"inputs": {"text": Ref(operation="load", path=(0,))}},
        {"when": Constant(constant=True)},
        {"env": {"LANGUAGE": "de"}},
        {"output_schema": {"type": "string"}},
        {"metadata": CALL.metadata.model_copy(update={"temperature": 1})},
        {"metadata": CALL.metadata.model_copy(update={"model": "openai/gpt-4.1"})},
    ],
)
def test_a_copy_with_another_result_has_another_text(changes):
    before = what_it_computes(CALL)
    changed = CALL.model_copy(update=changes)
    assert what_it_computes(changed) != before
    assert what_it_computes(CALL.model_copy()) == before


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "other"},
        {"resources": Resources(cpu=4)},
        {"cache": CachePolicy(ttl_s=60)},
        {"shards": 4},
        {"metadata": CALL.metadata.model_copy(update={"estimated_output_tokens": 50})},
    ],
)
def test_how_it_runs_is_told_apart_from_what_it_computes(changes):
    changed = CALL.model_copy(update=changes)
    assert what_it_computes(changed) == what_it_computes(CALL)
    assert how_it_runs(changed) != how_it_runs(CALL)


def test_notes_are_in_neither():
    noted = CALL.model_copy(update={"source": "p.py:9", "description": "Asks."})
    assert (what_it_computes(noted), how_it_runs(noted)) == (what_it_computes(CALL), how_it_runs(CALL))


def test_a_function_and_a_call_of_it_are_told_apart():
    function = Operation(id="a", func="m:f")
    call = LLMOperation(id="a", func="m:f", metadata=LLMMetadata(model="openai/gpt-4.1"))
    assert what_it_computes(function) != what_it_computes(call)


def test_a_provider_is_part_of_the_model_that_is_asked():
    apart = CALL.model_copy(update={"metadata": CALL.metadata.model_copy(update={"provider": "openai", "model": "gpt-4.1-mini"})})
    assert request_fields(apart) == request_fields(CALL)
