"""The graphs of the fixtures, by name: each is written down here once and printed in the fixture."""

from __future__ import annotations

from decimal import Decimal

from xcs_airflow.ir import (
    BatchPolicy,
    CachePolicy,
    Constant,
    Graph,
    ListOf,
    Operation,
    Parameter,
    ParameterSpec,
    PipelinePolicy,
    RecordOf,
    Ref,
    Resources,
    Retry,
)

from .toys import llm, on_a_gpu, plain

TICKETS = ParameterSpec(name="tickets", has_default=True, default=["late", "broken", "late", "odd"])
LOAD = plain("load", "words", n=4, items=4)


def graph(*operations: Operation, output: object = None, **settings: object) -> Graph:
    """A graph whose output is one operation, by its id, or a value."""
    value = Ref(operation=output) if isinstance(output, str) else output
    return Graph(operations, **{"name": "case", "parameters": [TICKETS], "output": value, **settings})


def dead_chain() -> Graph:
    return graph(
        LOAD, plain("a", "upper", each="load", pure=True), llm("b", each="a", temperature=0.7), plain("end", x="load"), output="end"
    )


def dead_but_impure() -> Graph:
    return graph(LOAD, plain("log", x="load"), plain("end", x="load"), output="end")


def dead_own_call() -> Graph:
    asks = llm("asks", func="toys:join", x="load", temperature=0.7)
    told = llm("told", func="toys:join", x="load", cacheable=True)
    return graph(LOAD, asks, told, plain("end", x="load"), output="end")


def read_by_condition() -> Graph:
    return graph(LOAD, plain("any", x="load", pure=True), plain("end", x="load", when=Ref(operation="any")), output="end")


def no_output_given() -> Graph:
    return graph(LOAD, plain("a", x="load", pure=True), plain("b", x="load", pure=True, n=2))


def equal_chains() -> Graph:
    first = [plain("a", "upper", each="load", pure=True), llm("b", each="a", temperature=0)]
    second = [
        plain("c", "upper", each="load", pure=True, description="again"),
        llm("d", each="c", temperature=0, estimated_output_tokens=5),
    ]
    return graph(LOAD, *first, *second, plain("end", x=ListOf(items=(Ref(operation="b"), Ref(operation="d")))), output="end")


def equal_but_impure() -> Graph:
    return graph(plain("a", "words"), plain("b", "words"), llm("c", x="a", temperature=0.7), llm("d", x="a", temperature=0.7))


def equal_but_one_setting() -> Graph:
    calls = [
        llm("a", x="load", temperature=0),
        llm("b", x="load", temperature=0, max_tokens=8),
        llm("c", "Sum up: ", x="load", temperature=0),
        llm("d", x="load", temperature=0, secrets={"OPENAI_API_KEY": "other"}),
        llm("e", x="load", temperature=0, when=Constant(constant=True)),
        llm("f", each="load", temperature=0),
        llm("g", each="load", temperature=0, collect="filter"),
    ]
    return graph(LOAD, *calls)


def provider_spelled_apart() -> Graph:
    return graph(LOAD, llm("a", x="load", temperature=0), llm("b", x="load", model="gpt-4.1-mini", provider="openai", temperature=0))


def equal_filters() -> Graph:
    kept = [plain(name, "is_even", each="load", collect="filter", pure=True) for name in ("a", "b")]
    together = plain("end", "upper", x="a", y="b", pure=True).model_copy(update={"map_over": ("x", "y")})
    return graph(LOAD, *kept, together, output="end")


def what_is_cacheable() -> Graph:
    calls = [
        llm("cold", each="load", temperature=0),
        llm("seeded", "Sum up: ", each="load", temperature=0.7, seed=1),
        llm("told", "Answer: ", each="load", temperature=0.7, cacheable=True),
        llm("warm", each="load", temperature=0.7),
        llm("unset", each="load"),
        llm("never", each="load", temperature=0, cacheable=False),
        llm("own", func="toys:upper", each="load", temperature=0),
        llm("done", "Guess: ", each="load", temperature=0, cache=CachePolicy(ttl_s=60)),
    ]
    return graph(plain("load", "words", n=4, items=4, distinct_items=2), *calls)


def repeats_through_a_chain() -> Graph:
    load = plain("load", "words", n=4, items=400, distinct_items=100)
    return graph(
        load, llm("a", each="load", temperature=0), llm("b", each="a", temperature=0), llm("c", "Sum up: ", each="b", temperature=0)
    )


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


def triage() -> Graph:
    load = plain("tickets", "words", n=4, items=240, distinct_items=180)
    team = llm("team", each="tickets", temperature=0, max_tokens=4)
    field = llm("field", "Which product? ", each="tickets", temperature=0, max_tokens=40)
    line = llm("line", "Sum up: ", each="tickets", temperature=0.7, max_tokens=80)
    again = llm("again", each="tickets", temperature=0, max_tokens=4)
    unused = llm("unused", "Who cares? ", each="tickets")
    report = plain("report", x=ListOf(items=tuple(Ref(operation=name) for name in ("team", "field", "line", "again"))))
    return graph(load, team, field, line, again, unused, report, output="report")


MANY = plain("load", "words", items=20_000)
TWO_DAYS = PipelinePolicy(deadline_s=2 * 86400)


def time_for_a_batch() -> Graph:
    return graph(MANY, llm("a", each="load"), llm("b", "Sum up: ", x="load"), plain("end", x="a"), output="end", policy=TWO_DAYS)


def no_time_for_a_batch() -> Graph:
    return graph(MANY, llm("a", each="load"), output="a", policy=PipelinePolicy(deadline_s=2 * 3600))


def three_batches_in_a_row() -> Graph:
    chain = [llm("a", each="load"), llm("b", "Sum up: ", each="a"), llm("c", "Shorten: ", each="b")]
    return graph(MANY, *chain, output="c", policy=PipelinePolicy(deadline_s=60 * 3600))


def quick_before_cheap() -> Graph:
    return graph(MANY, llm("a", each="load"), output="a", policy=PipelinePolicy(optimize="latency", deadline_s=2 * 86400))


def quick_within_a_budget() -> Graph:
    policy = PipelinePolicy(optimize="latency", deadline_s=2 * 86400, budget_usd=Decimal(2))
    return graph(MANY, llm("a", each="load"), output="a", policy=policy)


def may_be_packed() -> Graph:
    rules = "Rules: " + "a team is named by one word, in small letters, as in the list below. " * 30
    return graph(MANY, llm("a", rules, each="load", max_pack=5, max_tokens=8), llm("b", "Team? ", each="load", max_pack=5), output="a")


LONG = "Rules: " + "a team is named by one word, in small letters, as in the list below. " * 300
CLAUDE = {"model": "anthropic/claude-sonnet-4-5", "max_tokens": 8}


def read_live_or_in_a_batch() -> Graph:
    calls = [llm("long", LONG, each="load", **CLAUDE), llm("short", "Team? ", each="load", **CLAUDE)]
    return graph(MANY, *calls, policy=PipelinePolicy(deadline_s=30 * 3600))


def read_in_a_batch() -> Graph:
    return graph(MANY, llm("long", LONG, each="load", **CLAUDE), output="long", policy=PipelinePolicy(deadline_s=60 * 3600))


def calls_that_begin_alike() -> Graph:
    in_flight = BatchPolicy(group="g", in_flight=32)
    calls = [
        llm("long", LONG, each="load", batch=in_flight, **CLAUDE),
        llm("short", "Team? ", each="load", batch=in_flight, **CLAUDE),
        llm("itself", LONG, each="load", batch=in_flight, model="openai/gpt-4.1-mini"),
        llm("batched", LONG, each="load", batch=BatchPolicy(group="b", mechanism="provider_batch"), **CLAUDE),
        llm("once", LONG, x="load", **CLAUDE),
        llm("unknown", LONG, each="load", model="nobody/knows"),
    ]
    return graph(MANY, *calls)


def batches_that_begin_alike() -> Graph:
    first = llm("first", LONG, each="load", batch=BatchPolicy(group="a", mechanism="provider_batch"), **CLAUDE)
    beside = llm("beside", "Sum up: ", each="load", batch=BatchPolicy(group="a", mechanism="provider_batch"), **CLAUDE)
    after = llm("next", LONG, each="first", batch=BatchPolicy(group="b", mechanism="provider_batch"), **CLAUDE)
    policy = PipelinePolicy(deadline_s=80 * 3600)
    return graph(
        MANY, first, beside, after, output=RecordOf(fields={"a": Ref(operation="next"), "b": Ref(operation="beside")}), policy=policy
    )


def batches_in_a_hurry() -> Graph:
    long = llm("long", LONG, each="load", batch=BatchPolicy(group="a", mechanism="provider_batch"), **CLAUDE)
    return graph(MANY, long, output="long", policy=PipelinePolicy(deadline_s=80 * 3600, optimize="latency"))


def few_in_a_batch() -> Graph:
    long = llm("long", LONG, each="load", batch=BatchPolicy(group="a", mechanism="provider_batch"), **CLAUDE)
    return graph(plain("load", "words", items=2), long, output="long", policy=PipelinePolicy(deadline_s=80 * 3600))


def batches_of_openai() -> Graph:
    batch = BatchPolicy(group="a", mechanism="provider_batch")
    long = llm("long", LONG, each="load", batch=batch, model="openai/gpt-4.1-mini")
    return graph(MANY, long, output="long", policy=PipelinePolicy(deadline_s=80 * 3600))


def alike_but_in_a_hurry() -> Graph:
    long = llm("long", LONG, each="load", batch=BatchPolicy(group="g", in_flight=32), **CLAUDE)
    return graph(MANY, long, policy=PipelinePolicy(optimize="latency"))


def few_that_begin_together() -> Graph:
    return graph(plain("load", "words", items=40), llm("long", LONG, each="load", batch=BatchPolicy(group="g", in_flight=32), **CLAUDE))


def too_few_to_read() -> Graph:
    return graph(plain("load", "words", items=1), llm("long", LONG, each="load", **CLAUDE))


def limited_by_requests() -> Graph:
    in_flight = {"estimated_latency_s": 3.0, "batch": BatchPolicy(group="g", in_flight=32)}
    calls = [llm("a", each="load", shards=2, **in_flight), llm("b", "Sum up: ", each="load", shards=2, **in_flight)]
    other = llm("c", each="load", shards=2, model="anthropic/claude-haiku-4-5", batch=BatchPolicy(group="h", in_flight=32))
    batched = llm("d", each="load", shards=2, batch=BatchPolicy(group="i", mechanism="provider_batch"))
    return graph(MANY, *calls, other, batched)
