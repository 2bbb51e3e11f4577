"""A pipeline whose calls are placed on a GPU and probed before that is started, and what its runs leave behind.

It knows the pipeline and its store; what a platform does with it, the tests of the platforms tell.
"""

from pathlib import Path
from urllib.parse import quote

from xcs_airflow.ir import Graph, Hole, LLMMetadata, LLMOperation, Message, Operation, Prompt, Ref, Resources, Retry
from xcs_airflow.passes import LLMGraphEnhancer
from xcs_airflow.plan import CloudExporter
from xcs_airflow.runtime.cache import open_cache

SHARDS = 3
GONE = "about word 4"
OUTPUT = f"Re: in short {' '.join(f'Re: about word {number}' for number in range(9))}"
ONE = Retry(attempts=1)


def probed_plan(target):
    """words -> 3 shards of ask -> say -> title, planned for a target by all passes; ask and title are calls on a GPU."""
    operations = [
        Operation(id="words", func="pipeline:words", retry=ONE),
        _call("ask", "about ", "words", map_over=("x",), shards=SHARDS),
        Operation(id="say", func="pipeline:say", inputs={"answers": Ref(operation="ask")}, retry=ONE),
        _call("title", "in short ", "say"),
    ]
    graph = LLMGraphEnhancer(target=target).enhance(Graph(operations, name="probed", output=Ref(operation="title")))
    plan = CloudExporter(target=target).export(graph)
    assert {task: probe.id for task, probe in plan.probe_of.items()} == {"ask": "ask.probe", "title": "title.probe"}
    return plan


def _call(name, text, source, **fields):
    return LLMOperation(
        id=name,
        prompt=Prompt(messages=(Message(parts=(text, Hole(input="x"))),)),
        inputs={"x": Ref(operation=source)},
        metadata=LLMMetadata(model="openai/gpt-4.1-mini", temperature=0),
        resources=Resources(cpu=4, memory_mib=16384, gpu=1, gpu_type="nvidia-l4"),
        retry=ONE,
        **fields,
    )


def forget_one(cache):
    """Remove the answer to one prompt from a cache."""
    place = open_cache(cache)
    assert place.remove([key for key, answer in place.entries() if answer.text == f"Re: {GONE}"]) == 1


def results(store, run):
    """What the steps that ask left in a store, by name, without the name of the run: results and commits."""
    name = quote(run, safe="")
    root = Path(store) / "runs" / "probed" / name / "steps"
    paths = [path for step in ("ask", "title") for path in sorted((root / step).iterdir())]
    return {path.relative_to(root).as_posix(): path.read_bytes().replace(name.encode(), b"RUN") for path in paths}
