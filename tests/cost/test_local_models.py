"""How large local models are and how fast: what a name tells, and what hardware makes of it."""

from __future__ import annotations

import pytest

from xcs_airflow.cost.assumptions import Assumed
from xcs_airflow.cost.figures import Figure
from xcs_airflow.cost.latency import call_latency
from xcs_airflow.cost.local_models import local_models, memory_mib, times_as_fast, told_millions, weights_mib
from xcs_airflow.ir import LLMMetadata, LLMOperation, Resources

SMALL = "smollm2-135m-instruct"
L4 = Resources(cpu=4, memory_mib=16384, gpu=1, gpu_type="nvidia-l4")


@pytest.mark.parametrize(
    ("name", "millions"),
    [(SMALL, 135), ("qwen2.5-0.5b-instruct", 500), ("llama-3.1-8B", 8000), ("gemma", None), ("m3-base", None), ("v2b1", None)],
)
def test_a_name_tells_the_parameters(name, millions):
    assert told_millions(name) == millions


def test_the_figures_hold_for_the_model_that_was_measured():
    """xllamacpp 2026.10: the process takes 352 MiB, of which the file has 94."""
    assert 352 <= memory_mib(SMALL) <= 512
    assert weights_mib(SMALL) >= 94
    assert times_as_fast(SMALL, Resources()) == 1


def test_a_model_of_unknown_size_is_taken_for_a_large_one():
    assert memory_mib("gemma") == memory_mib("gemma-8b") > memory_mib("gemma-1b")


def test_more_processors_gain_less_and_less_and_a_gpu_more():
    speeds = [times_as_fast(SMALL, Resources(cpu=cpu)) for cpu in (0.25, 1, 2, 4, 8)]
    assert speeds == sorted(speeds)
    assert speeds[-1] == speeds[-2] == local_models().speeds[-1].times
    assert times_as_fast(SMALL, L4) > speeds[-1]
    assert times_as_fast(SMALL, Resources(gpu=1, gpu_type="tpu")) == times_as_fast(SMALL, Resources())


@pytest.mark.parametrize(("model", "resources", "share"), [("local/x-270m", Resources(), 2), (f"local/{SMALL}", L4, 1 / 7.5)])
def test_estimates_count_the_size_of_a_model_and_its_hardware(model, resources, share):
    def latency(name, placed):
        operation = LLMOperation(id="a", prompt_func="a:b", metadata=LLMMetadata(model=name), resources=placed)
        return call_latency(operation, Figure.exactly(10), Assumed()).expected

    assert latency(model, resources) == pytest.approx(latency(f"local/{SMALL}", Resources()) * share)
