"""Which calls share a task, in how many shards."""

from __future__ import annotations

from xcs_airflow.ir import (
    BatchPolicy,
    Constant,
    Graph,
    Parameter,
    PipelinePolicy,
    Resources,
)

from .cases import LOAD, graph
from .toys import llm, plain


def two_maps() -> Graph:
    return graph(LOAD, llm("a", each="load"), llm("b", "Sum up: ", each="load"), plain("end", x="a", y="b"), output="end")


def three_single_calls() -> Graph:
    return graph(LOAD, *(llm(name, f"{name}? ", x="load") for name in "abc"))


def one_single_call() -> Graph:
    return graph(LOAD, llm("a", x="load"))


def not_alike() -> Graph:
    calls = [
        llm("a", "1 ", x="load"),
        llm("provider", "2 ", x="load", model="anthropic/claude-haiku-4-5"),
        llm("secret", "3 ", x="load", secrets={"OPENAI_API_KEY": "other"}),
        llm("image", "4 ", x="load", image="other:1"),
        llm("large", "5 ", x="load", resources=Resources(memory_mib=8192)),
        llm("maybe", "6 ", x="load", when=Constant(constant=True)),
        llm("alone", "7 ", x="load", batchable=False),
        llm("own", func="toys:join", x="load"),
        llm("mapped", "8 ", each="load"),
        llm("elsewhere", "9 ", each=Parameter(parameter="tickets")),
    ]
    return graph(LOAD, *calls)


def calls_after_calls() -> Graph:
    after_a = [llm("b", "Then: ", x="a"), plain("c", x="a")]
    return graph(LOAD, llm("a", x="load"), *after_a, llm("d", "Then: ", x="c"), llm("e", "Also: ", x="b"))


def many_items() -> Graph:
    load = plain("load", "words", n=4, items=100_000)
    chain = [llm("a", each="load", max_tokens=8), plain("up", "upper", each="a"), llm("b", each="up", max_tokens=8)]
    return graph(load, *chain, llm("c", "Sum up: ", each="load", max_tokens=8))


def shards_by_hand() -> Graph:
    load = plain("load", "words", n=4, items=100_000)
    return graph(load, llm("a", each="load", shards=7), llm("b", "Sum up: ", each="load", shards=7), llm("c", "Answer: ", each="load"))


def spread_within_limits() -> Graph:
    load = plain("load", "words", n=4, items=100_000)
    other = plain("more", "words", n=4, items=100_000)
    free = llm("c", each="more", max_tokens=8, model="anthropic/claude-haiku-4-5")
    return graph(load, other, llm("a", each="load", max_tokens=8), llm("b", "Sum up: ", each="more", max_tokens=8), free)


def tasks_by_hand() -> Graph:
    load = [plain(name, "words", n=4, items=100_000) for name in ("load", "more")]
    by_hand = BatchPolicy(group="g", in_flight=32)
    group = [llm("a", each="load", max_tokens=8, batch=by_hand), llm("b", "Sum up: ", each="load", max_tokens=8, batch=by_hand)]
    mixed = [llm("c", "Answer: ", each="load", max_tokens=8, fused="t"), plain("d", "upper", each="load", fused="t")]
    given = [llm("e", each="more", shards=7, fused="u"), plain("f", "upper", each="more", fused="u")]
    return graph(*load, *group, *mixed, *given)


def own_calls_in_shards() -> Graph:
    return graph(plain("load", "words", n=4, items=2_000), llm("a", func="toys:upper", each="load", estimated_latency_s=2))


def prefers_latency() -> Graph:
    load = plain("load", "words", n=4, items=40)
    policy = PipelinePolicy(optimize="latency")
    return graph(load, llm("a", each="load"), llm("b", "Sum up: ", each="load"), policy=policy)


def one_waits_long() -> Graph:
    slow = llm("slow", func="toys:join", x="load", estimated_latency_s=500)
    quick = llm("quick", func="toys:join", x="load", estimated_latency_s=1)
    calls = [llm("a", "1 ", x="slow"), llm("b", "2 ", x="quick"), llm("c", "3 ", x="quick")]
    late = llm("late", func="toys:join", x="b", estimated_latency_s=400)
    return graph(LOAD, slow, quick, *calls, late)


def grouped_by_hand() -> Graph:
    by_hand = BatchPolicy(group="b", in_flight=4)
    calls = [llm("a", "1 ", x="load", batch=by_hand), llm("b", "2 ", x="load"), llm("c", "3 ", x="load")]
    return graph(LOAD, *calls)


def local_model() -> Graph:
    load = plain("load", "words", n=4, items=100_000)
    model = "local/smollm2-135m-instruct"
    return graph(load, llm("a", each="load", model=model), llm("b", x="load", model=model), llm("c", "Sum up: ", x="load", model=model))
