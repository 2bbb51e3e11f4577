"""How calls are made, what prompt caches have of them, and what providers allow."""

from __future__ import annotations

from decimal import Decimal

from xcs_airflow.ir import (
    BatchPolicy,
    Graph,
    ListOf,
    PipelinePolicy,
    RecordOf,
    Ref,
)

from .cases import graph
from .toys import llm, plain


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
