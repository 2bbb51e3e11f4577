"""The rules of placement, each with its source; what it does to whole graphs stands in the fixtures."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xcs_airflow.cost.compute import platforms, task_cost_usd
from xcs_airflow.ir import BatchPolicy, Graph, LLMOperation, PipelinePolicy, Resources
from xcs_airflow.passes import PassContext, PlaceOnHardware

from .cases import LOAD, graph
from .strategies import graphs
from .toys import llm

MODEL = "local/qwen2.5-7b-instruct"


def placed(*operations, target="aws-batch", **policy):
    context = PassContext(target=target)
    result = PlaceOnHardware()(graph(LOAD, *operations, policy=PipelinePolicy(**policy)), context)
    return result, {decision.operation: decision for decision in context.decisions}


@settings(max_examples=60, deadline=None)
@given(made=graphs(), target=st.sampled_from(sorted(platforms())))
def test_work_that_waits_for_an_api_never_gets_a_gpu(made: Graph, target):
    """A call waits, it does not compute: a quarter of a processor makes 300 a second."""
    result = PlaceOnHardware()(made, PassContext(target=target))
    assert all(operation.resources.gpu == 0 for operation in result)
    assert all(new == old for new, old in zip(result, made, strict=True) if not isinstance(old, LLMOperation))


def test_a_task_of_several_operations_saves_once():
    group = [llm(name, f"{name} ", x="load", batch=BatchPolicy(group="g")) for name in "ab"]
    _, decisions = placed(*group)
    batch = platforms()["aws-batch"]
    minutes = [task_cost_usd(batch, Resources(cpu=cpu, memory_mib=memory), 0).expected for cpu, memory in ((1, 2048), (0.25, 512))]
    assert [decisions[name].saves_usd for name in "ab"] == [round(minutes[0] - minutes[1], 6), None]


def test_what_a_batch_at_the_provider_saves_by_its_size_is_not_known():
    result, decisions = placed(llm("a", each="load", batch=BatchPolicy(group="a", mechanism="provider_batch")))
    assert result["a"].resources == Resources(cpu=0.25, memory_mib=512)
    assert decisions["a"].saves_usd is None


def test_a_model_that_shares_its_task_with_other_work_stays():
    batch = BatchPolicy(group="g")
    result, decisions = placed(llm("a", x="load", batch=batch), llm("b", x="load", model=MODEL, batch=batch))
    assert {operation.resources for operation in result} == {Resources()}
    assert decisions["a"].reason == decisions["b"].reason == "its task does other work, too"


def test_without_an_image_for_it_a_model_never_gets_a_gpu():
    """The wheel of xllamacpp that pip installs computes on processors."""
    calls = {"model": MODEL, "max_tokens": 200, "estimated_latency_s": 1000}
    results = [placed(llm("a", x="load", image=image, **calls), optimize="latency")[0]["a"].resources.gpu for image in (None, "gpu:1")]
    assert results == [0, 1]


def test_a_model_too_large_for_four_processors_gets_the_memory_it_needs():
    result, _ = placed(llm("a", x="load", model="local/llama-30b", max_tokens=16))
    assert result["a"].resources == Resources(cpu=4, memory_mib=26624)
    result, _ = placed(llm("a", x="load", model="local/llama-60b", max_tokens=16))
    assert result["a"].resources == Resources(cpu=8, memory_mib=53248)


@pytest.mark.parametrize(("hour_usd", "gpus"), [("0.0001", 0), ("100", 1)])
def test_who_says_what_an_hour_is_worth_gets_the_gpu_when_it_is_worth_it(hour_usd, gpus):
    call = llm("a", x="load", model="local/qwen2.5-0.5b", max_tokens=512, image="gpu:1", estimated_latency_s=400)
    result, _ = placed(call, target="cloud-run", optimize="balanced", hour_usd=Decimal(hour_usd))
    assert result["a"].resources.gpu == gpus


def test_a_second_time_nothing_is_placed_again():
    result, _ = placed(llm("a", x="load"))
    context = PassContext(target="cloud-run")
    assert PlaceOnHardware()(result, context) is result
