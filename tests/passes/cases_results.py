"""What is computed at all, once, or remembered."""

from __future__ import annotations

from xcs_airflow.ir import (
    CachePolicy,
    Constant,
    Graph,
    ListOf,
    Ref,
)

from .cases import LOAD, graph
from .toys import llm, plain


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
