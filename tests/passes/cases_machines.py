"""Where tasks run, which of them start together, and which are probed first."""

from __future__ import annotations

from xcs_airflow.ir import (
    BatchPolicy,
    CachePolicy,
    Constant,
    Graph,
    PipelinePolicy,
    Resources,
    Retry,
)

from .cases import LOAD, graph
from .toys import llm, on_a_gpu, plain


def small_chain() -> Graph:
    return graph(LOAD, plain("up", "upper", each="load"), llm("a", each="up"), plain("end", x="a"), output="end")


def small_siblings() -> Graph:
    calls = [llm("a", x="load"), llm("b", "Sum up: ", x="load", model="anthropic/claude-haiku-4-5"), plain("c", x="load")]
    ends = [plain(f"end_{name}", x=name, image="other:1") for name in "abc"]
    return graph(plain("load", "words", n=4, items=4, image="other:1"), *calls, *ends)


def long_siblings() -> Graph:
    load, end = plain("load", "words", n=4, image="other:1"), plain("end", x="a", y="b", image="other:1")
    calls = [llm(name, func="toys:join", x="load", estimated_latency_s=200) for name in "ab"]
    return graph(load, *calls, end, output="end")


def one_of_two_waits() -> Graph:
    slow = llm("slow", func="toys:join", x="load", estimated_latency_s=900, image="other:1")
    return graph(LOAD, slow, llm("a", func="toys:join", x="load", estimated_latency_s=900), plain("end", x="a", y="slow"), output="end")


def batch_between() -> Graph:
    by_hand = BatchPolicy(group="a", mechanism="provider_batch")
    return graph(LOAD, llm("a", each="load", batch=by_hand), plain("b", x="a"), plain("end", x="b"), output="end")


def one_difference_each() -> Graph:
    others = [
        plain("image", x="load", image="other:1"),
        plain("retry", x="load", retry=Retry(attempts=1)),
        plain("maybe", x="load", when=Constant(constant=True)),
        plain("limit", x="load", timeout_s=9),
        plain("env", x="load", env={"MODE": "fast"}),
        plain("mode", x="load", env={"MODE": "slow"}),
        llm("local", x="load", model="local/smollm2-135m-instruct"),
        plain("gpu", x="load", resources=Resources(gpu=1, gpu_type="nvidia-l4")),
    ]
    return graph(LOAD, *others)


def long_run() -> Graph:
    load = plain("load", "words", n=4, items=4)
    return graph(load, llm("a", func="toys:join", x="load", estimated_latency_s=1200), plain("end", x="a"), output="end")


def chain_in_shards() -> Graph:
    load = plain("load", "words", n=4, items=40)
    chain = [llm("a", each="load", shards=4), llm("b", each="a", shards=4)]
    return graph(load, *chain, plain("c", "upper", each="b", y="b", shards=4), output="c")


def too_large_together() -> Graph:
    large = plain("large", x="load", resources=Resources(cpu=4, memory_mib=16384))
    return graph(LOAD, large, llm("slow", func="toys:join", x="large", estimated_latency_s=3000), output="slow")


def what_runs_where() -> Graph:
    calls = [
        llm("waits", x="load"),
        llm("declared", "2 ", x="load", resources=Resources(cpu=2, memory_mib=4096)),
        llm("own", func="toys:join", x="load"),
        llm("small", "3 ", x="load", model="local/smollm2-135m-instruct", max_tokens=16),
        llm("large", "4 ", x="load", model="local/llama-70b", max_tokens=16),
    ]
    return graph(LOAD, *calls)


def ten_short_local_calls() -> Graph:
    return graph(
        plain("load", "words", n=4, items=10), llm("a", each="load", model="local/qwen2.5-0.5b-instruct", max_tokens=16, image="gpu:1")
    )


def many_local_calls() -> Graph:
    load = plain("load", "words", n=4, items=5_000)
    return graph(load, llm("a", each="load", model="local/qwen2.5-7b-instruct", max_tokens=200, image="gpu:1"))


def local_calls_in_a_hurry() -> Graph:
    load = plain("load", "words", n=4, items=500)
    policy = PipelinePolicy(optimize="latency")
    return graph(load, llm("a", each="load", model="local/qwen2.5-0.5b-instruct", max_tokens=100, image="gpu:1"), policy=policy)


def remembered_on_a_gpu() -> Graph:
    load = plain("load", "words", n=4, items=400)
    return graph(load, on_a_gpu("a", each="load", shards=3), plain("end", x="a"), output="end")


def together_on_a_gpu() -> Graph:
    calls = [on_a_gpu("a", x="load", fused="a"), on_a_gpu("b", "Sum up: ", x="a", fused="a")]
    return graph(LOAD, *calls, plain("end", x="b"), output="end")


def remembered_in_a_hurry() -> Graph:
    return graph(LOAD, on_a_gpu("a", x="load"), policy=PipelinePolicy(optimize="latency"))


def remembered_before_a_deadline() -> Graph:
    calls = [on_a_gpu("a", x="load"), on_a_gpu("b", "Sum up: ", x="load")]
    return graph(LOAD, *calls, policy=PipelinePolicy(deadline_s=400))


def what_must_not_be_probed() -> Graph:
    by_hand = BatchPolicy(group="batch", mechanism="provider_batch")
    large = Resources(cpu=2, memory_mib=4096)
    calls = [
        on_a_gpu("warm", x="load", temperature=0.7, cache=None),
        on_a_gpu("off", "2 ", x="load", env={"XCS_CACHE": "off"}),
        on_a_gpu("apart", "3 ", x="load", env={"XCS_CACHE": "sqlite:///cache.sqlite"}),
        on_a_gpu("own", func="toys:join", x="load"),
        on_a_gpu("asked", "4 ", x="load", probe=True),
        llm("batch", "5 ", x="load", batch=by_hand, resources=large, cache=CachePolicy()),
        llm("cheap", "6 ", x="load", resources=large, cache=CachePolicy()),
        llm("least", "7 ", x="load", resources=Resources(cpu=1, memory_mib=512), cache=CachePolicy()),
    ]
    return graph(LOAD, *calls)
