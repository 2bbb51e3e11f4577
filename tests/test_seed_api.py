"""The API that the project grew from, as it was written there."""

from __future__ import annotations

import json

from xcs_airflow import CloudExporter, LLMGraphEnhancer, jit, llm
from xcs_airflow.ir import Graph, Operation, Ref
from xcs_airflow.ir.llm_ops import LLMMetadata, LLMOperation
from xcs_airflow.passes import CacheInsertionPass, PromptBatchingPass
from xcs_airflow.testing import fake_models


def model_call(prompt: str = "") -> str:
    return prompt


llm_model = llm("openai/gpt-4.1-mini", "{text}")


@jit  # Automatically uses LLM-aware strategy if applicable
def process_with_llm(text):
    return llm_model(text)


def seed_graph() -> Graph:
    graph = Graph()
    operation = LLMOperation(
        id="llm_1",
        func=model_call,
        metadata=LLMMetadata(model="claude-3", estimated_tokens=1000, cacheable=True),
    )
    graph.add_operation(operation)
    return graph


def test_operations_are_added_to_a_graph():
    graph = seed_graph()

    assert [operation.id for operation in graph] == ["llm_1"]
    assert (f"{__name__}:model_call", 1000, True) == (
        graph["llm_1"].func,
        graph["llm_1"].metadata.estimated_tokens,
        graph["llm_1"].metadata.cacheable,
    )


def test_the_exporter_gives_json_with_costs_resources_and_dependencies():
    graph = seed_graph()
    graph.add_operation(Operation(id="after", func=model_call, inputs={"prompt": Ref(operation="llm_1")}))

    cloud_graph = CloudExporter().export(graph)
    document = json.loads(cloud_graph.to_json())

    assert [task["id"] for task in document["tasks"]] == ["llm_1", "after"]
    assert document["edges"] == [{"before": "llm_1", "after": "after"}]
    assert {"cpu", "memory_mib", "gpu", "gpu_type"} == set(document["tasks"][0]["resources"])
    assert {"cost_usd", "duration_s"} <= set(document["totals"])
    assert document["totals"]["cost_usd"]["unknown"] == ["claude-3"]


def test_the_enhancer_runs_the_passes_and_says_what_it_did():
    enhanced = LLMGraphEnhancer().enhance(seed_graph())

    assert {CacheInsertionPass.__name__, PromptBatchingPass.__name__} <= {decision.pass_name for decision in enhanced.decisions}
    assert list(seed_graph().decisions) == []


def test_jit_runs_the_function():
    with fake_models(str.upper):
        assert process_with_llm("hello") == "HELLO"
