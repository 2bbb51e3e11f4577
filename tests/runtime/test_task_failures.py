"""What a task leaves behind when something goes wrong."""

import asyncio
import json
import sys
from collections import Counter

import pytest

from xcs_airflow.errors import ModelError, ModelUnavailableError, RuntimeTaskError
from xcs_airflow.ir import Constant, Graph, Operation, Ref
from xcs_airflow.plan.lower import lower
from xcs_airflow.runtime import read_output, run_task
from xcs_airflow.runtime.models import AttemptError, ModelAnswer

from .running import asking, run_all


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
    (tmp_path / "cache.sqlite").mkdir()
    manifest = lower(Graph([asking("ask", Constant(constant=["x"]), cache={})], name="p"))
    with pytest.raises(RuntimeTaskError, match="XCS614"):
        run_all(manifest, settings)
    assert model.calls == 0


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
