"""Running a manifest here."""

from __future__ import annotations

import dataclasses
from importlib import import_module
from types import SimpleNamespace

import pytest

from xcs_airflow import CloudExporter, LLMGraphEnhancer, llm, op, pipeline
from xcs_airflow.errors import NotReadyError, RuntimeTaskError
from xcs_airflow.jit.executor import LLMOptimizedExecutor
from xcs_airflow.manifest import Manifest, ProviderBatch, Task
from xcs_airflow.runtime import RuntimeSettings
from xcs_airflow.testing import fake_models

ask = llm("openai/gpt-4.1-mini", "About {x}", temperature=0)


@op(items=3)
def load(count: int) -> list[str]:
    return [str(number) for number in range(count)]


@op
def join(parts: list[str], fail: bool = False) -> str:
    if fail:
        raise ValueError("asked to fail")
    return "+".join(parts)


@pipeline
def flow(count: int = 2, fail: bool = False):
    return {"joined": join(ask.map(x=load(count)), fail=fail), "count": count}


@pytest.fixture
def executor(tmp_path):
    """Makes an executor that keeps its reports."""

    def make(manifest, reports=None):
        observer = None if reports is None else lambda *report: reports.append(report)
        return LLMOptimizedExecutor(manifest, RuntimeSettings(store=str(tmp_path), cache="off"), observer)

    return make


@pytest.fixture
def manifest():
    return CloudExporter().export(LLMGraphEnhancer().enhance(flow.graph())).manifest


def test_every_task_runs_in_order_and_the_value_comes_back(executor, manifest):
    reports = []
    with fake_models(str.upper):
        value = executor(manifest, reports).run("run-1", {"count": 3})

    assert value == {"joined": "ABOUT 0+ABOUT 1+ABOUT 2", "count": 3}
    assert [task.id for task in manifest.tasks] == [task.id for task, _, _ in reports]


def test_every_shard_of_a_task_runs(executor, manifest):
    tasks = [task.model_copy(update={"shards": 2}) if task.id == "ask" else task for task in manifest.tasks]
    sharded = type(manifest)(**{**{name: getattr(manifest, name) for name in type(manifest).model_fields}, "tasks": tasks})
    reports = []
    with fake_models(str.upper):
        value = executor(sharded, reports).run("run-1")

    assert value["joined"] == "ABOUT 0+ABOUT 1"
    assert [(task.id, shard) for task, shard, _ in reports] == [("load", 0), ("ask", 0), ("ask", 1), ("join", 0)]


def test_what_a_run_has_finished_is_not_done_again(executor, manifest):
    with fake_models(str.upper) as calls:
        executor(manifest).run("run-1")
        executor(manifest).run("run-1")
        assert calls.count == 2
        executor(manifest).run("run-2")
        assert calls.count == 4


@pytest.fixture
def fused_manifest():
    return CloudExporter(target="aws-batch").export(LLMGraphEnhancer(target="aws-batch").enhance(flow.graph())).manifest


def test_a_fused_task_computes_what_its_tasks_would(executor, manifest, fused_manifest):
    reports = []
    with fake_models(str.upper):
        values = [executor(manifest).run("apart", {"count": 3}), executor(fused_manifest, reports).run("together", {"count": 3})]

    assert values[0] == values[1]
    assert [report.ran for _, _, report in reports] == [("load", "ask", "join")]


def test_a_fused_task_that_is_tried_again_repeats_nothing_that_it_has_finished(executor, fused_manifest):
    with fake_models("x") as calls:
        for _ in range(2):
            with pytest.raises(RuntimeTaskError):
                executor(fused_manifest).run("run-1", {"fail": True})
        assert calls.count == 2


def test_a_task_that_fails_says_which_line(executor, manifest):
    with fake_models("x"), pytest.raises(RuntimeTaskError) as caught:
        executor(manifest).run("run-1", {"fail": True})
    assert "asked to fail" in str(caught.value)
    assert "test_executor.py:29" in str(caught.value)


def test_modules_of_the_code_folder_are_found_and_put_away(tmp_path):
    import sys  # noqa: PLC0415

    from xcs_airflow import load_pipeline  # noqa: PLC0415

    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        text = f"from xcs_airflow import op, pipeline\n@op\ndef a():\n    return {name!r}\n@pipeline\ndef flow():\n    return a()\n"
        (tmp_path / name / "own_flow.py").write_text(text)

    values = []
    for name in ("one", "two"):
        graph = load_pipeline(str(tmp_path / name / "own_flow.py")).graph()
        settings = RuntimeSettings(store=str(tmp_path / "store" / name), cache="off", code=tmp_path / name)
        values.append(LLMOptimizedExecutor(CloudExporter().export(graph).manifest, settings).run("run"))

    assert values == ["one", "two"]
    assert "own_flow" not in sys.modules


class Waiting:
    """Tasks whose polls are ready at the so manieth start; keeps what was started."""

    def __init__(self, monkeypatch, ready_at):
        self.started = []
        self.pauses = []
        self.left = dict(ready_at)
        monkeypatch.setattr("xcs_airflow.runtime.run_task", self.run)
        monkeypatch.setattr("xcs_airflow.runtime.read_output", lambda *_, **__: "value")
        monkeypatch.setattr(import_module("xcs_airflow.jit.executor"), "time", SimpleNamespace(sleep=self.pauses.append))

    def run(self, manifest, task, *, shard, **_):
        name = f"{task}/{shard}"
        self.started.append(name)
        self.left[name] = self.left.get(name, 1) - 1
        if self.left[name] > 0:
            raise NotReadyError.because("XCS721", waiting=1, total=1, model="m", reason="the provider is at work")


def batch(name, *needs):
    asked = ProviderBatch(max_requests=10, max_bytes=1000, window_s=60, poll_every_s=4)
    return [
        Task(id=f"{name}.submit", kind="submit", part_of=name, shards=2, needs=needs),
        Task(id=f"{name}.poll", kind="poll", part_of=name, shards=2, needs=(f"{name}.submit",)),
        Task(id=name, kind="collect", shards=2, needs=(f"{name}.poll",), provider_batch=asked),
    ]


def test_a_batch_holds_up_only_what_needs_it(executor, monkeypatch):
    tasks = [*batch("a"), *batch("b"), Task(id="after", needs=("a",)), Task(id="other")]
    waiting = Waiting(monkeypatch, {"a.poll/1": 4, "b.poll/0": 2})
    reasons = []
    run = executor(Manifest(pipeline="p", graph_digest="x", tasks=tasks), [])
    value = dataclasses.replace(run, onlooker=lambda *told: reasons.append(told)).run("one")
    assert value == "value"
    first = ["a.submit/0", "a.submit/1", "a.poll/0", "a.poll/1", "b.submit/0", "b.submit/1", "b.poll/0", "b.poll/1", "other/0"]
    second = ["a.poll/1", "b.poll/0", "b/0", "b/1"]
    assert waiting.started == [*first, *second, "a.poll/1", "a.poll/1", "a/0", "a/1", "after/0"]
    assert waiting.pauses == [1, 1, 2]  # short again whenever something was done, for then another batch may have begun
    assert [(task.id, shard) for task, shard, _ in reasons] == [("a.poll", 1), ("b.poll", 0), ("a.poll", 1), ("a.poll", 1)]
    assert "the provider is at work" in reasons[0][2]
