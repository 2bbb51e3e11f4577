"""Whole tasks, held against the reference interpreter."""

import asyncio
import json
import logging
import sys
from collections import Counter

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as tries
from hypothesis import strategies as st

from xcs_airflow.errors import ModelError, ModelUnavailableError, RuntimeTaskError
from xcs_airflow.ir import Constant, Graph, LLMMetadata, LLMOperation, Operation, Parameter, ParameterSpec, Prompt, Ref
from xcs_airflow.ir.executor import evaluate
from xcs_airflow.plan.lower import lower
from xcs_airflow.runtime import RuntimeSettings, read_output, run_task, run_usage
from xcs_airflow.runtime.functions import Function, code_on_path
from xcs_airflow.runtime.models import AttemptError, ModelAnswer
from xcs_airflow.runtime.steps import levels
from xcs_airflow.values import Hole, ListOf, Message, RecordOf


def run_all(manifest, settings, run_id="run", parameters=None):
    """Every shard of every task, as a platform would."""
    return [
        run_task(manifest, task.id, run_id=run_id, shard=shard, parameters=parameters, settings=settings)
        for task in manifest.tasks
        for shard in range(task.shards)
    ]


def reference(graph, settings, parameters=None):
    """What the graph means, as JSON."""

    def find(address):
        function = Function(address)
        return lambda **inputs: as_json(function(inputs))

    with code_on_path(settings.code):
        result = evaluate(graph, parameters, ask_model=lambda _, messages: messages[-1]["content"].upper(), find=find)
    return json.loads(json.dumps(result))


def as_json(result):
    return list(result) if hasattr(result, "__next__") else result


def asking(name, source, *, over=("x",), text="about ", **fields):
    prompt = Prompt(messages=(Message(parts=(text, Hole(input="x"))),))
    metadata = LLMMetadata(model="openai/gpt-4.1-mini", temperature=0)
    return LLMOperation(id=name, prompt=prompt, inputs={"x": source}, map_over=over, metadata=metadata, **fields)


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


def test_what_is_finished_stays_when_something_fails(settings, code, model):
    code("def load():\n    return [f'ticket {i}' for i in range(10)]\n")
    batch = {"group": "g", "in_flight": 4}
    operations = [
        Operation(id="load", func="pipeline:load"),
        asking("fine", Ref(operation="load"), text="fine ", batch=batch, cache={}),
        asking("poor", Ref(operation="load"), text="poor ", batch=batch, cache={}),
    ]
    manifest = lower(Graph(operations, name="p", output=Ref(operation="poor")))
    broken = AttemptError("HTTP 400: no", blame="row")
    model.reply = lambda request: broken if request.messages[0]["content"] == "poor ticket 3" else "ok"
    with pytest.raises(ModelError, match="1 of 10 calls failed"):
        run_all(manifest, settings)
    asked = Counter(model.prompts)
    assert set(asked.values()) == {1}
    model.reply = lambda request: "ok now"
    run_all(manifest, settings)
    assert model.calls == 21
    assert read_output(manifest, run_id="run", settings=settings) == ["ok"] * 3 + ["ok now"] + ["ok"] * 6


def test_the_reason_of_a_failure_lies_in_the_store(settings, code, model, tmp_path):
    model.reply = lambda request: AttemptError("HTTP 503", blame="busy")
    graph = Graph([asking("ask", Constant(constant="x"), over=())], name="p", output=Ref(operation="ask"))
    with pytest.raises(ModelUnavailableError):
        run_task(lower(graph), "ask", run_id="run/1", settings=settings, attempt=3)
    (path,) = (tmp_path / "store" / "runs" / "p" / "run%2F1" / "errors" / "ask").iterdir()
    assert path.name == "0-of-1.3.json"
    document = json.loads(path.read_text())
    assert document["retryable"] is True
    assert document["findings"][0]["code"] == "XCS703"


def test_a_mistake_nobody_expected_is_kept_and_raised_as_it_is(settings, code, model, tmp_path):
    model.reply = lambda request: ZeroDivisionError("in the test")
    graph = Graph([asking("ask", Constant(constant="x"), over=())], name="p")
    with pytest.raises(ZeroDivisionError):
        run_task(lower(graph), "ask", run_id="run", settings=settings)
    (path,) = tmp_path.glob("store/runs/p/run/errors/ask/*.json")
    assert json.loads(path.read_text())["findings"][0]["code"] == "XCS615"


def test_a_store_that_cannot_be_written_is_an_error_that_says_so(settings, code, tmp_path):
    (tmp_path / "store").write_text("a file where a folder should be")
    graph = Graph([Operation(id="load", func="pipeline:load")], name="p")
    with pytest.raises(RuntimeTaskError, match="XCS608"):
        run_task(lower(graph), "load", run_id="run", settings=settings)


def test_calls_that_are_out_are_awaited_whatever_goes_wrong_elsewhere(settings, code, model, monkeypatch):
    monkeypatch.setattr("xcs_airflow.runtime.steps._WINDOW", 5)
    code(
        """
def load():
    return list(range(10))
def prompt(x):
    if x == 7:
        raise ValueError("seven")
    return f"about {x}"
"""
    )
    operation = asking("ask", Ref(operation="load"), cache={}, batch={"group": "g", "in_flight": 5})
    operation = operation.model_copy(update={"prompt": None, "prompt_func": "pipeline:prompt"})
    manifest = lower(Graph([Operation(id="load", func="pipeline:load"), operation], name="p"))
    answered = []

    async def complete(request):
        await asyncio.sleep(0.05)
        answered.append(request.messages[0]["content"])
        return ModelAnswer("fine")

    model.complete = complete
    with pytest.raises(RuntimeTaskError, match="seven"):
        run_all(manifest, settings)
    assert sorted(answered) == [f"about {x}" for x in range(5)]
    code("def load():\n    return list(range(10))\ndef prompt(x):\n    return f'about {x}'\n")
    monkeypatch.delitem(sys.modules, "pipeline")
    run_all(manifest, settings)
    assert sorted(answered) == [f"about {x}" for x in range(10)]


def test_a_cache_that_takes_nothing_costs_no_answers(settings, code, model, monkeypatch, caplog):
    def put_many(*_):
        raise RuntimeTaskError.because("XCS614", reason="the disk is full")

    monkeypatch.setattr("xcs_airflow.runtime.cache.sqlite.SqliteCache.put_many", put_many)
    operations = [Operation(id="load", func="pipeline:load"), asking("ask", Ref(operation="load"), cache={})]
    manifest = lower(Graph(operations, name="p", output=Ref(operation="ask")))
    run_all(manifest, settings)
    assert len(read_output(manifest, run_id="run", settings=settings)) == 60
    assert "answers could not be remembered" in caplog.text


def test_a_cache_that_does_not_answer_stops_before_money_is_spent(settings, code, model, tmp_path):
    (tmp_path / "cache.sqlite").write_text("not a database" * 500)
    manifest = lower(Graph([asking("ask", Constant(constant=["x"]), cache={})], name="p"))
    with pytest.raises(RuntimeTaskError, match="XCS614"):
        run_all(manifest, settings)
    assert model.calls == 0


def test_hostile_names_stay_inside_the_store(settings, code, tmp_path):
    graph = Graph([Operation(id="..", func="pipeline:report")], name="../../p", output=Ref(operation=".."))
    manifest = lower(graph)
    run_all(manifest, settings, run_id="../../../escaped")
    assert read_output(manifest, run_id="../../../escaped", settings=settings) == {}
    assert {path.name for path in tmp_path.iterdir()} == {"code", "store"}


@pytest.mark.parametrize(
    ("value", "path", "code_name"),
    [(Constant(constant=5), (), "XCS612"), (Ref(operation="load", path=("missing",)), ("missing",), "XCS616")],
)
def test_inputs_that_are_not_what_they_should_be_are_named(settings, code, value, path, code_name):
    code("def load():\n    return {'items': [1]}\ndef work(x):\n    return x\n")
    operations = [
        Operation(id="load", func="pipeline:load"),
        Operation(id="work", func="pipeline:work", inputs={"x": value}, map_over=("x",)),
    ]
    with pytest.raises(RuntimeTaskError, match=code_name) as caught:
        run_all(lower(Graph(operations, name="p", output=Ref(operation="work"))), settings)
    assert caught.value.findings[0].operation == "work"


def test_results_that_cannot_be_spread_are_named(settings, code):
    operation = Operation(id="work", func="pipeline:work", inputs={"x": Constant(constant=[1])}, map_over=("x",), collect="flat_map")
    with pytest.raises(RuntimeTaskError, match="XCS618"):
        run_all(lower(Graph([operation], name="p")), settings)


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
