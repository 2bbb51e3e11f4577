"""Graphs that many tests look at: a small pipeline, a sharded one, a wide one, and one full of hostile text."""

from __future__ import annotations

import hypothesis
import pytest

from xcs_airflow.ir import (
    BatchPolicy,
    CachePolicy,
    Constant,
    Graph,
    Hole,
    LLMMetadata,
    LLMOperation,
    Message,
    Operation,
    Parameter,
    ParameterSpec,
    PipelinePolicy,
    Prompt,
    Ref,
    Resources,
    Retry,
)

# How long an example takes says more of the machine than of the code.
hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.load_profile("here")

HOSTILE = [
    "'; import os; os._exit(3) #",
    '"""); raise SystemExit("""',
    "{{ conn.x.password }} {% raw %} {# c #}",
    "carriage\rreturn # print(1)",
    "nul\0byte",
    "line\u2028sep\u2029par\x85nel",
    "back\\slash \\N{DASH} \\x41",
    "${Token} $(id) `id` %(x)s %s",
    "<script>alert(1)</script>",
    "\ud83d lone surrogate".encode("utf-16", "surrogatepass").decode("utf-16", "replace"),
]


def ask(operation_id: str, text: str = "Which team?\n\n", source: str = "tickets", **fields) -> LLMOperation:
    """An operation that asks about every ticket."""
    return LLMOperation(
        id=operation_id,
        prompt=Prompt(messages=(Message(parts=(text, Hole(input="ticket"))),)),
        inputs={"ticket": Ref(operation=source)},
        map_over=("ticket",),
        metadata=LLMMetadata(model="openai/gpt-4.1-mini", temperature=0, max_tokens=8),
        source="pipeline.py:9",
        **fields,
    )


def small_graph(**changes) -> Graph:
    """load -> classify, summarise (one group, cached) -> report."""
    batch = BatchPolicy(group="openai", in_flight=16)
    operations = [
        Operation(
            id="tickets",
            func="pipeline:load",
            inputs={"path": Parameter(parameter="path")},
            items=240,
            distinct_items=180,
            source="pipeline.py:4",
        ),
        ask("classify", cache=CachePolicy(), batch=batch, secrets={"OPENAI_API_KEY": "openai-key"}),
        ask("summarise", "Summarise.\n\n", cache=CachePolicy(), batch=batch, secrets={"OPENAI_API_KEY": "openai-key"}),
        Operation(
            id="report",
            func="pipeline:report",
            inputs={"teams": Ref(operation="classify"), "lines": Ref(operation="summarise"), "title": Constant(constant="Daily")},
            resources=Resources(cpu=0.5, memory_mib=1024),
            retry=Retry(attempts=2),
            timeout_s=600,
            source="pipeline.py:20",
        ),
    ]
    settings = {
        "name": "small",
        "parameters": [ParameterSpec(name="path", has_default=True, default="tickets.jsonl", value_schema={"type": "string"})],
        "output": Ref(operation="report"),
        "policy": PipelinePolicy(schedule="0 6 * * *", timezone="Europe/Berlin", description="Small."),
        "source": "pipeline.py:30",
    }
    return Graph(operations, **{**settings, **changes})


def sharded_graph() -> Graph:
    """load -> 4 shards of classify -> 4 shards of answer -> report."""
    operations = [
        Operation(id="tickets", func="pipeline:load", items=100_000),
        ask("classify", shards=4),
        ask("answer", "Answer: ", "classify", shards=4),
        Operation(id="report", func="pipeline:report", inputs={"answers": Ref(operation="answer"), "teams": Ref(operation="classify")}),
    ]
    return Graph(operations, name="sharded", output=Ref(operation="report"))


def wide_graph(width: int = 30) -> Graph:
    """Many sources, each read by a worker of its own, and one join that reads every worker."""
    operations = [Operation(id=f"source.{i}", func="pipeline:load") for i in range(width)]
    operations += [Operation(id=f"Work-{i}", func="pipeline:work", inputs={"x": Ref(operation=f"source.{i}")}) for i in range(width)]
    join = Operation(id="join", func="pipeline:join", inputs={f"x{i}": Ref(operation=f"Work-{i}") for i in range(width)})
    return Graph([*operations, join], name="wide", output=Ref(operation="join"))


def hostile_graph() -> Graph:
    """Every free text field holds text that tries to escape from where it is put."""
    everything = "\n".join(HOSTILE)
    operation = Operation(
        id="load",
        func="pipeline:load",
        inputs={"path": Parameter(parameter="path"), **{f"c{i}": Constant(constant=text) for i, text in enumerate(HOSTILE)}},
        description=everything,
        env={"GREETING": everything.replace("\0", "")},
        secrets={"OPENAI_API_KEY": "openai-key"},
        source=f"pipe{everything}line.py:1",
    )
    llm = ask("classify", everything, "load", description=everything)
    return Graph(
        [operation, llm],
        name="hostile",
        parameters=[ParameterSpec(name="path", has_default=True, default=everything)],
        output=Ref(operation="classify"),
        policy=PipelinePolicy(description=everything),
        source=f"{everything}:1",
    )


def batched_graph() -> Graph:
    """tickets -> 3 shards of calls for a batch API, beside a single one of another provider -> report."""
    operations = [
        Operation(id="tickets", func="pipeline:load", items=100_000),
        ask("classify", shards=3, batch=BatchPolicy(group="openai", mechanism="provider_batch")),
        LLMOperation(
            id="greet",
            prompt=Prompt(messages=(Message(parts=("Hello",)),)),
            metadata=LLMMetadata(model="anthropic/claude-haiku-4-5", max_tokens=8),
            batch=BatchPolicy(group="anthropic", mechanism="provider_batch"),
            secrets={"ANTHROPIC_API_KEY": "anthropic-key"},
        ),
        Operation(id="work", func="pipeline:work", inputs={"x": Ref(operation="tickets")}),
        Operation(
            id="report",
            func="pipeline:report",
            inputs={"teams": Ref(operation="classify"), "words": Ref(operation="greet"), "work": Ref(operation="work")},
        ),
    ]
    return Graph(operations, name="batched", output=Ref(operation="report"))


def probed_graph() -> Graph:
    """tickets -> 3 shards of classify, probed, beside work -> 3 shards of answer, probed -> report."""
    remembered = {"cache": CachePolicy(), "probe": True, "shards": 3}
    operations = [
        Operation(id="tickets", func="pipeline:load", items=100_000),
        ask("classify", secrets={"CACHE_KEY": "cache-key"}, env={"XCS_CACHE_KEY_ENV": "CACHE_KEY"}, **remembered),
        Operation(id="work", func="pipeline:work", inputs={"x": Ref(operation="tickets")}),
        ask("answer", "Answer: ", "classify", **remembered),
        Operation(
            id="report",
            func="pipeline:report",
            inputs={"teams": Ref(operation="classify"), "answers": Ref(operation="answer"), "work": Ref(operation="work")},
        ),
    ]
    return Graph(operations, name="probed", output=Ref(operation="report"))


GRAPHS = {
    "small": small_graph,
    "sharded": sharded_graph,
    "wide": wide_graph,
    "hostile": hostile_graph,
    "batched": batched_graph,
    "probed": probed_graph,
}


@pytest.fixture(params=GRAPHS)
def any_graph(request: pytest.FixtureRequest) -> Graph:
    """Each of the graphs above in turn."""
    return GRAPHS[request.param]()


@pytest.fixture
def graph() -> Graph:
    """The small pipeline."""
    return small_graph()


@pytest.fixture
def graphs():
    """The makers of all graphs, by name."""
    return GRAPHS


@pytest.fixture
def hostile_texts() -> list[str]:
    """Texts that try to escape from where they are put."""
    return list(HOSTILE)
