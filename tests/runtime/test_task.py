"""Whole tasks, held against the reference interpreter."""

import asyncio
import logging

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as tries
from hypothesis import strategies as st

from xcs_airflow.errors import RuntimeTaskError
from xcs_airflow.ir import Graph, Operation, Parameter, ParameterSpec, Ref
from xcs_airflow.plan.lower import lower
from xcs_airflow.runtime import RuntimeSettings, read_output, run_task, run_usage
from xcs_airflow.runtime.models import ModelAnswer
from xcs_airflow.runtime.steps import levels
from xcs_airflow.values import ListOf, RecordOf

from .running import asking, reference, run_all


@pytest.mark.parametrize("name", ["small", "sharded", "wide", "hostile"])
def test_the_runtime_means_what_the_reference_interpreter_means(graphs, name, settings, code, model):
    graph = graphs[name]()
    manifest = lower(graph)
    run_all(manifest, settings)
    assert read_output(manifest, run_id="run", settings=settings) == reference(graph, settings)


def test_running_again_is_free(graph, settings, code, model):
    manifest = lower(graph)
    first = run_all(manifest, settings)
    calls = model.calls
    assert calls == len(set(model.prompts)) == 80
    again = run_all(manifest, settings)
    assert model.calls == calls
    assert [report.ran for report in again] == [()] * 3
    assert str(again[1]) == "task classify_summarise: already done"
    assert str(first[1]).startswith("task classify_summarise: 80 calls, 0 cache hits, 40 duplicates, 800 + 160 tokens, 0.000")


def test_another_run_asks_nothing_because_the_cache_has_it_all(graph, settings, code, model, caplog):
    manifest = lower(graph)
    run_all(manifest, settings, "run 1")
    calls = model.calls
    with caplog.at_level(logging.INFO, "xcs_airflow.runtime"):
        run_all(manifest, settings, "run 2")
    assert model.calls == calls
    assert "task classify_summarise: 0 calls, 120 cache hits, 0 duplicates" in caplog.text
    usage = run_usage(settings, "small", "run 2")
    assert (usage.total.rows, usage.total.hits, usage.total.calls) == (120, 120, 0)
    assert [entry.calls for entry in run_usage(settings, "small", "run 1").operations] == [40, 40]


def test_parameters_are_part_of_a_run(graph, settings, code, model):
    code("def load(path):\n    return [path]\ndef report(teams, lines, title):\n    return [teams, title]\n")
    manifest = lower(graph)
    run_all(manifest, settings, parameters={"path": "a"})
    assert read_output(manifest, run_id="run", settings=settings) == [["WHICH TEAM?\n\nA"], "Daily"]
    run_all(manifest, settings, parameters={"path": "b"})
    assert read_output(manifest, run_id="run", parameters={"path": "b"}, settings=settings) == [["WHICH TEAM?\n\nB"], "Daily"]
    with pytest.raises(RuntimeTaskError, match="XCS602"):
        read_output(manifest, run_id="run", parameters={"path": "c"}, settings=settings)


def test_wrong_parameters_are_all_named(settings, code):
    specs = [
        ParameterSpec(name="path", value_schema={"type": "string"}),
        ParameterSpec(name="limit", has_default=True, default=5, value_schema={"type": "integer"}),
    ]
    graph = Graph([Operation(id="load", func="pipeline:load", inputs={"path": Parameter(parameter="path")})], name="p", parameters=specs)
    with pytest.raises(RuntimeTaskError) as caught:
        run_task(lower(graph), "load", run_id="run", parameters={"limit": "many", "pth": "x"}, settings=settings)
    text = str(caught.value)
    assert len(caught.value.findings) == 3
    for part in ("'pth' is not one of the pipeline's", "did you mean 'path'?", "'path' is missing", "'limit' is not what it should be"):
        assert part in text


def test_what_does_not_exist_is_refused(graph, settings, code):
    manifest = lower(graph)
    with pytest.raises(RuntimeTaskError, match="did you mean 'tickets'"):
        run_task(manifest, "ticket", run_id="run", settings=settings)
    with pytest.raises(RuntimeTaskError, match="XCS609"):
        run_task(manifest, "tickets", run_id="run", shard=1, settings=settings)
    with pytest.raises(RuntimeTaskError, match="output of 'tickets' is not in the store"):
        run_task(manifest, "classify_summarise", run_id="run", settings=settings)


def test_a_condition_leaves_out_a_step_and_all_that_reads_it(settings, code, model):
    graph = Graph(
        [
            Operation(id="load", func="pipeline:load"),
            asking("ask", Ref(operation="load"), when=Parameter(parameter="wanted")),
            Operation(id="report", func="pipeline:report", inputs={"answers": Ref(operation="ask")}),
            Operation(id="other", func="pipeline:work", inputs={"x": Ref(operation="load", path=(0,))}),
        ],
        name="conditional",
        parameters=[ParameterSpec(name="wanted", has_default=True, default=False)],
        output=ListOf(items=(Ref(operation="report"), Ref(operation="other"))),
    )
    manifest = lower(graph)
    run_all(manifest, settings)
    assert model.calls == 0
    assert read_output(manifest, run_id="run", settings=settings) == reference(graph, settings) == [None, "ticket 0"]
    run_all(manifest, settings, "second", {"wanted": True})
    expected = reference(graph, settings, {"wanted": True})
    assert read_output(manifest, run_id="second", settings=settings) == expected
    assert model.calls == 60


SPREADING = """
def numbers(n):
    yield from range(n)

def is_even(x):
    return x % 2 == 0

def parts(x):
    return [f"{x}-{i}" for i in range(x % 4)]

def double(x):
    return x * 2

def pair(a, b):
    return [a, b]

def gather(**inputs):
    return inputs
"""


def spreading_graph(shards, order):
    """map, filter and flat_map in some order, joined with what they came from, each in its own number of shards."""
    steps = {"filter": ("pipeline:is_even", "filter"), "flat_map": ("pipeline:parts", "flat_map"), "map": ("pipeline:double", "map")}
    operations = [Operation(id="numbers", func="pipeline:numbers", inputs={"n": Parameter(parameter="n")})]
    last, widths = "numbers", iter(shards)
    for index, kind in enumerate(order):
        func, collect = steps[kind]
        name = f"{kind}{index}"
        operations.append(
            Operation(id=name, func=func, inputs={"x": Ref(operation=last)}, map_over=("x",), collect=collect, shards=next(widths))
        )
        last = name
        if kind == "flat_map":
            break
    if "flat_map" not in order:
        inputs = {"a": Ref(operation="numbers"), "b": Ref(operation=last)}
        operations.append(Operation(id="pair", func="pipeline:pair", inputs=inputs, map_over=("a", "b"), shards=next(widths)))
        last = "pair"
    operations.append(asking("ask", Ref(operation=last), shards=next(widths)))
    whole = {operation.id: Ref(operation=operation.id) for operation in operations}
    operations.append(Operation(id="gather", func="pipeline:gather", inputs=whole))
    specs = [ParameterSpec(name="n", has_default=True, default=0)]
    return Graph(operations, name="spreading", parameters=specs, output=Ref(operation="gather"))


@tries(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(
    shards=st.lists(st.sampled_from([None, 1, 2, 3, 5]), min_size=6, max_size=6),
    order=st.lists(st.sampled_from(["filter", "map", "flat_map"]), min_size=1, max_size=3),
    count=st.integers(0, 30),
)
def test_shards_never_change_the_meaning(tmp_path_factory, code, settings, model, shards, order, count):
    code(SPREADING)
    graph = spreading_graph(shards, order)
    own = settings.model_copy(update={"store": str(tmp_path_factory.mktemp("run") / "store"), "cache": "off"})
    manifest = lower(graph)
    run_all(manifest, own, parameters={"n": count})
    found = read_output(manifest, run_id="run", parameters={"n": count}, settings=own)
    assert found == reference(graph, own, {"n": count})


def test_a_window_ends_while_the_next_begins(settings, code, model, monkeypatch):
    monkeypatch.setattr("xcs_airflow.runtime.steps._WINDOW", 7)
    code("def load():\n    return [f'ticket {i % 50}' for i in range(100)]\n")
    graph = Graph([Operation(id="load", func="pipeline:load"), asking("ask", Ref(operation="load"), cache={})], name="p")
    graph = Graph(list(graph), name="p", output=Ref(operation="ask"))
    manifest = lower(graph)
    run_all(manifest, settings)
    assert read_output(manifest, run_id="run", settings=settings) == [f"ABOUT TICKET {i % 50}" for i in range(100)]
    assert model.calls == 50


def test_generators_are_read_one_item_at_a_time(settings, code, model):
    code(
        """
def load():
    for index in range(5):
        yield {"index": index}
    raise ValueError("the sixth")

def work(x):
    return x["index"]
"""
    )
    graph = Graph([Operation(id="load", func="pipeline:load")], name="p", output=Ref(operation="load"))
    manifest = lower(graph)
    with pytest.raises(RuntimeTaskError, match="the sixth"):
        run_all(manifest, settings)
    with pytest.raises(RuntimeTaskError, match="XCS602"):
        read_output(manifest, run_id="run", settings=settings)


def test_steps_of_one_task_ask_side_by_side(settings, code, model):
    code("def load():\n    return ['a', 'b']\n")
    batch = {"group": "g", "in_flight": 4}
    operations = [
        Operation(id="load", func="pipeline:load"),
        *(asking(name, Ref(operation="load"), text=name, batch=batch) for name in ("one", "two")),
    ]
    manifest = lower(Graph(operations, name="p", output=RecordOf(fields={name: Ref(operation=name) for name in ("one", "two")})))
    everybody = asyncio.Event()

    async def complete(request):
        model.requests.append(request)
        if model.calls == 4:
            everybody.set()
        await asyncio.wait_for(everybody.wait(), 10)
        return ModelAnswer(request.messages[0]["content"])

    model.complete = complete
    run_all(manifest, settings)
    expected = {"one": ["onea", "oneb"], "two": ["twoa", "twob"]}
    assert read_output(manifest, run_id="run", settings=settings) == expected


def test_hostile_names_stay_inside_the_store(settings, code, tmp_path):
    graph = Graph([Operation(id="..", func="pipeline:report")], name="../../p", output=Ref(operation=".."))
    manifest = lower(graph)
    run_all(manifest, settings, run_id="../../../escaped")
    assert read_output(manifest, run_id="../../../escaped", settings=settings) == {}
    assert {path.name for path in tmp_path.iterdir()} == {"code", "store"}


def test_it_runs_where_an_event_loop_runs(graph, settings, code, model):
    code(
        """
import asyncio
async def load(path):
    return [path]
async def later():
    return 7
def report(**inputs):
    return asyncio.run(later())
"""
    )
    manifest = lower(graph)

    async def inside():
        run_all(manifest, settings)
        return read_output(manifest, run_id="run", settings=settings)

    assert asyncio.run(inside()) == 7


def test_calls_that_functions_make_themselves_are_in_the_books(settings, code, model):
    code(
        """
from xcs_airflow.manifest import ModelCall
from xcs_airflow.runtime.calls import answer_many
from xcs_airflow.values import Message, Prompt
def load():
    call = ModelCall(model="openai/gpt-4.1-mini", prompt=Prompt(messages=(Message(parts=("hello",)),)))
    return answer_many(call, [{}], cache=None, name="greet")
"""
    )
    manifest = lower(Graph([Operation(id="load", func="pipeline:load")], name="p", output=Ref(operation="load")))
    (report,) = run_all(manifest, settings)
    assert [(usage.operation, usage.calls) for usage in report.usage] == [("greet", 1)]
    assert run_usage(settings, "p", "run").total.calls == 1


def test_steps_are_grouped_by_what_they_read(graphs):
    manifest = lower(graphs["small"]())
    steps = [step for task in manifest.tasks for step in task.steps]
    assert [[step.id for step in level] for level in levels(steps)] == [["tickets"], ["classify", "summarise"], ["report"]]


def test_settings_come_from_the_environment_unless_given(graph, code, model, tmp_path, monkeypatch):
    monkeypatch.setenv("XCS_STORE", str(tmp_path / "elsewhere" / "store"))
    monkeypatch.setenv("XCS_CODE", str(tmp_path / "code"))
    manifest = lower(graph)
    for task in manifest.tasks:
        run_task(manifest, task.id, run_id="run")
    assert read_output(manifest, run_id="run") == read_output(
        manifest, run_id="run", settings=RuntimeSettings(store=tmp_path / "elsewhere" / "store")
    )
