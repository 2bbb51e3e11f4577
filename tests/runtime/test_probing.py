"""Probes: with all answers known they leave behind what the task would, and with one missing nothing and no call."""

import time
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as tries
from hypothesis import strategies as st

from xcs_airflow.errors import NotReadyError
from xcs_airflow.ir import BatchPolicy, CachePolicy, Graph, LLMMetadata, Operation, Ref
from xcs_airflow.plan.lower import lower
from xcs_airflow.runtime import main, read_output, run_task, run_usage
from xcs_airflow.runtime.caches import shared_cache
from xcs_airflow.runtime.recall import recall
from xcs_airflow.values import Constant

from .running import asking, run_all

IN_SHARDS = 3
NUMBERS = count()


def probed(*more, shards=IN_SHARDS, **fields):
    """load -> ask in shards, probed -> report."""
    ask = asking("ask", Ref(operation="load"), shards=shards, **{"cache": CachePolicy(), "probe": True, **fields})
    report = Operation(id="report", func="pipeline:report", inputs={"answers": Ref(operation="ask")})
    return Graph([Operation(id="load", func="pipeline:load"), ask, *more, report], name="probed", output=Ref(operation="report"))


def start(manifest, settings, task, run_id, shard=0):
    return run_task(manifest, task, run_id=run_id, shard=shard, settings=settings)


def filled(manifest, settings, run_id="first"):
    """A run without the probe, which leaves all answers in the cache."""
    for task in manifest.tasks:
        if task.kind == "run":
            for shard in range(task.shards):
                start(manifest, settings, task.id, run_id, shard)


def files(settings, run_id, below="steps/ask"):
    """What a run left in the store, by name; its own name is taken out."""
    root = Path(settings.store) / "runs" / "probed" / run_id / below
    paths = [path for path in sorted(root.rglob("*")) if path.is_file()]
    return {path.relative_to(root).as_posix(): path.read_bytes().replace(run_id.encode(), b"RUN") for path in paths}


def forget(settings, *answers):
    """Remove answers from the cache by their texts."""
    cache = shared_cache(settings)
    assert cache.remove([key for key, answer in cache.entries() if answer.text in answers]) == len(answers)


def test_one_probe_stands_before_all_shards_and_the_task_waits_for_it_alone():
    tasks = lower(probed()).task_by_id
    assert list(tasks) == ["load", "ask.probe", "ask", "report"]
    assert (tasks["ask.probe"].kind, tasks["ask.probe"].part_of, tasks["ask.probe"].shards) == ("probe", "ask", 1)
    assert [tasks[name].needs for name in ("ask.probe", "ask", "report")] == [("load",), ("ask.probe",), ("ask",)]
    assert tasks["ask"].shards == IN_SHARDS


def test_a_probe_changes_no_fingerprint():
    assert [step.fingerprint for step in lower(probed()).steps()] == [step.fingerprint for step in lower(probed(probe=False)).steps()]


def test_with_all_answers_known_it_commits_the_same_bytes_and_the_books_say_from_the_cache(settings, code, model):
    manifest = lower(probed())
    filled(manifest, settings)
    calls = model.calls
    assert calls == 40
    start(manifest, settings, "load", "second")
    report = start(manifest, settings, "ask.probe", "second")
    assert report.ran == ("ask",)
    assert model.calls == calls
    assert files(settings, "second") == files(settings, "first")
    assert len(files(settings, "second")) == 2 * IN_SHARDS
    total = run_usage(settings, "probed", "second").total
    assert (total.rows, total.hits, total.calls, total.duplicates) == (60, 60, 0, 0)
    assert [start(manifest, settings, "ask", "second", shard).ran for shard in range(IN_SHARDS)] == [()] * IN_SHARDS


def test_the_books_of_a_probe_are_those_of_the_task_with_a_full_cache(settings, code, model):
    manifest = lower(probed())
    filled(manifest, settings)
    filled(manifest, settings, "by the task")
    start(manifest, settings, "load", "by the probe")
    start(manifest, settings, "ask.probe", "by the probe")
    assert run_usage(settings, "probed", "by the probe").operations == run_usage(settings, "probed", "by the task").operations


def test_with_one_answer_missing_it_calls_nobody_and_the_task_asks_for_that_one_alone(settings, code, model):
    manifest = lower(probed())
    filled(manifest, settings)
    forget(settings, "ABOUT TICKET 7")
    model.requests.clear()
    start(manifest, settings, "load", "second")
    with pytest.raises(NotReadyError, match=r"not all is known that 'ask' needs: \d of \d+ answers that ask asks openai/gpt-4.1-mini for"):
        start(manifest, settings, "ask.probe", "second")
    assert model.calls == 0
    assert files(settings, "second", "errors") == {}
    for shard in range(IN_SHARDS):
        start(manifest, settings, "ask", "second", shard)
    assert model.prompts == ["about ticket 7"]
    total = run_usage(settings, "probed", "second").total
    assert (total.rows, total.hits, total.calls, total.duplicates) == (60, 59, 1, 0)
    assert files(settings, "second") == files(settings, "first")


def test_it_stops_at_the_first_window_with_a_miss_and_leaves_nothing_of_the_step(settings, code, model, monkeypatch):
    monkeypatch.setattr("xcs_airflow.runtime.steps._WINDOW", 5)
    looks = []
    monkeypatch.setattr("xcs_airflow.runtime.probing.recall", lambda *given: looks.append(given) or {})
    manifest = lower(probed(shards=1))
    start(manifest, settings, "load", "run")
    with pytest.raises(NotReadyError):
        start(manifest, settings, "ask.probe", "run")
    assert 1 <= len(looks) <= 2
    assert files(settings, "run") == {}
    assert files(settings, "run", "ledger") == {}


def test_a_window_that_is_known_after_another_missed_is_not_in_the_books(settings, code, model, monkeypatch):
    """Two windows of one step are looked up side by side; the first misses before the second is found."""
    manifest = lower(probed(shards=1))
    filled(manifest, settings)
    monkeypatch.setattr("xcs_airflow.runtime.steps._WINDOW", 5)
    looks = count()

    def late(*given):
        look = next(looks)
        time.sleep((0.1, 0.3)[look])
        return recall(*given) if look else {}

    monkeypatch.setattr("xcs_airflow.runtime.probing.recall", late)
    start(manifest, settings, "load", "second")
    with pytest.raises(NotReadyError):
        start(manifest, settings, "ask.probe", "second")
    assert next(looks) == 2
    assert files(settings, "second", "ledger") == {}
    assert files(settings, "second") == {}


def test_a_miss_in_one_step_stops_the_others_and_what_was_finished_stays(settings, code, model):
    """Two steps of one task, one after the other: the first is committed, the second misses."""
    batch = BatchPolicy(group="g")
    then = asking("then", Ref(operation="ask"), shards=IN_SHARDS, text="and ", cache=CachePolicy(), probe=True, fused="f", batch=batch)
    graph = probed(then, fused="f", batch=batch)
    manifest = lower(graph)
    filled(manifest, settings)
    forget(settings, "AND ABOUT TICKET 3")
    model.requests.clear()
    start(manifest, settings, "load", "second")
    with pytest.raises(NotReadyError, match="that then asks"):
        start(manifest, settings, "ask_then.probe", "second")
    assert model.calls == 0
    done = {name for name in files(settings, "second") if name.endswith(".json")}
    for shard in range(IN_SHARDS):
        start(manifest, settings, "ask_then", "second", shard)
    assert model.prompts == ["and ABOUT TICKET 3"]
    assert done <= files(settings, "second").keys()
    total = run_usage(settings, "probed", "second").total
    assert (total.rows, total.calls) == (120, 1)


@tries(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(gone=st.sets(st.integers(0, 39), max_size=5), already=st.sets(st.integers(0, IN_SHARDS - 1)))
def test_whatever_is_known_the_output_is_the_same_and_only_what_is_missing_is_asked(settings, code, model, gone, already):
    """Missing answers, and shards that an earlier start of the run finished."""
    manifest, number = lower(probed()), next(NUMBERS)
    first, name = f"first-{number}", f"run-{number}"
    filled(manifest, settings, first)
    start(manifest, settings, "load", name)
    for shard in already:
        start(manifest, settings, "ask", name, shard)
    forget(settings, *(f"ABOUT TICKET {number}" for number in gone))
    before = model.calls
    try:
        start(manifest, settings, "ask.probe", name)
        is_known = True
    except NotReadyError:
        is_known = False
    assert model.calls == before
    for shard in range(IN_SHARDS):
        start(manifest, settings, "ask", name, shard)
    assert (model.calls == before) == is_known
    assert model.calls - before <= len(gone)
    assert files(settings, name) == files(settings, first)


def test_answers_that_no_other_run_may_take_are_known_to_their_own_run(settings, code, model):
    manifest = lower(probed(cache=None))
    start(manifest, settings, "load", "run")
    with pytest.raises(NotReadyError):
        start(manifest, settings, "ask.probe", "run")
    for shard in range(IN_SHARDS):
        start(manifest, settings, "ask", "run", shard)
    calls = model.calls
    for path in (Path(settings.store) / "runs/probed/run/steps/ask").glob("*.json"):
        path.unlink()
    start(manifest, settings, "ask.probe", "run")
    assert model.calls == calls


def test_a_step_that_runs_a_function_is_never_known_and_its_function_does_not_run(settings, code, model):
    code("def load():\n    return ['a']\ndef report(answers):\n    return answers\ndef work(x):\n    raise SystemExit('it ran')\n")
    work = Operation(id="work", func="pipeline:work", inputs={"x": Ref(operation="load")}, map_over=("x",))
    plain = lower(Graph([*probed(shards=1), work], name="probed"))
    (step,) = next(task.steps for task in plain.tasks if task.id == "work")
    tasks = [
        task.model_copy(update={"steps": (*task.steps, step)}) if task.id == "ask" else task for task in plain.tasks if task.id != "work"
    ]
    manifest = plain.model_copy(update={"tasks": tuple(tasks)})
    start(manifest, settings, "load", "run")
    with pytest.raises(NotReadyError, match="work runs pipeline:work, whose results nobody remembers"):
        start(manifest, settings, "ask.probe", "run")
    assert files(settings, "run", "steps/work") == {}


def test_a_function_that_writes_prompts_and_asks_a_model_itself_asks_nobody(settings, code, model, monkeypatch):
    monkeypatch.setenv("XCS_STORE", settings.store)
    code(
        "from xcs_airflow import llm\n"
        "guess = llm('openai/gpt-4.1-mini', 'Guess {word}', temperature=0)\n"
        "def load():\n    return ['a']\n"
        "def write(x):\n    return guess(x)\n"
    )
    ask = asking("ask", Ref(operation="load"), cache=CachePolicy(), probe=True).model_copy(
        update={"prompt": None, "prompt_func": "pipeline:write"}
    )
    manifest = lower(Graph([Operation(id="load", func="pipeline:load"), ask], name="probed"))
    start(manifest, settings, "load", "run")
    with pytest.raises(NotReadyError, match="a function that writes prompts asks openai"):
        start(manifest, settings, "ask.probe", "run")
    assert model.calls == 0
    start(manifest, settings, "ask", "run")
    assert model.prompts == ["Guess a", "GUESS A"]


def test_a_step_that_its_condition_leaves_out_is_known_to_be_nothing(settings, code, model):
    manifest = lower(probed(when=Constant(constant=False)))
    run_all(manifest, settings)
    assert read_output(manifest, run_id="run", settings=settings) is None
    assert model.calls == 0


def test_the_command_says_what_is_missing_and_ends_with_75(settings, code, model, tmp_path, caplog, capsys):
    (tmp_path / "manifest.json").write_text(lower(probed()).to_json())
    call = ["--manifest", str(tmp_path / "manifest.json"), "--run", "run", "--store", settings.store]
    assert main([*call, "--task", "load"]) == 0
    caplog.set_level("INFO")
    assert main([*call, "--task", "ask.probe"]) == 75
    assert "task ask.probe: not all is known that 'ask' needs" in caplog.text
    assert capsys.readouterr().err == ""
    assert [main([*call, "--task", "ask", "--shard", f"{shard}/{IN_SHARDS}"]) for shard in range(IN_SHARDS)] == [0] * IN_SHARDS
    assert main([*call, "--task", "ask.probe"]) == 0
    assert "task ask.probe: already done" in caplog.text


def test_here_nothing_is_probed_and_the_run_comes_to_its_end(settings, code, model):
    from xcs_airflow.jit.executor import LLMOptimizedExecutor  # noqa: PLC0415

    told = []
    executor = LLMOptimizedExecutor(lower(probed()), settings, observer=lambda task, *_: told.append(task.id))
    assert len(executor.run("run")["answers"]) == 60
    assert told == ["load", *["ask"] * IN_SHARDS, "report"]


def test_packed_answers_and_those_asked_alone_are_found_alike(settings, code, model):
    together = BatchPolicy(group="ask", mechanism="packed", pack_size=5)
    graph = probed(batch=together)
    metadata = LLMMetadata(model="openai/gpt-4.1-mini", temperature=0, max_pack=5)
    graph = graph.replace(operations=[op.model_copy(update={"metadata": metadata}) if op.id == "ask" else op for op in graph])
    filled(lower(probed()), settings)
    calls = model.calls
    manifest = lower(graph)
    start(manifest, settings, "load", "second")
    start(manifest, settings, "ask.probe", "second")
    assert model.calls == calls
