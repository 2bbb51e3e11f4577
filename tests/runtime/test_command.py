import json
import logging

import pytest

from xcs_airflow.plan.lower import lower
from xcs_airflow.runtime import load_manifest, main, read_output
from xcs_airflow.runtime.models import AttemptError
from xcs_airflow.runtime.settings import RuntimeSettings


@pytest.fixture
def bundle(graphs, code, tmp_path):
    """The sharded pipeline as a manifest with its code beside it."""
    (tmp_path / "manifest.json").write_text(json.dumps(lower(graphs["sharded"]()).to_dict()))
    return tmp_path / "manifest.json"


@pytest.fixture
def run(bundle, tmp_path, model):
    """Runs a task as the command does."""

    def run(task, *more, run_id="run"):
        return main(["--manifest", str(bundle), "--task", task, "--run", run_id, "--store", str(tmp_path / "store"), *more])

    return run


def test_a_pipeline_runs_task_by_task(run, bundle, tmp_path, model, caplog):
    assert run("tickets") == 0
    for step in ("classify", "answer"):
        assert [run(step, "--shard", f"{shard}/4") for shard in range(4)] == [0] * 4
    with caplog.at_level(logging.INFO, "xcs_airflow.runtime"):
        assert run("report") == 0
        assert run("report") == 0
    assert [record.message.partition(" in ")[0] for record in caplog.records] == ["task report: done", "task report: already done"]
    found = read_output(load_manifest(str(bundle)), run_id="run", settings=RuntimeSettings(store=tmp_path / "store"))
    assert len(found["teams"]) == 60
    assert found["answers"][0] == "ANSWER: WHICH TEAM?\n\nTICKET 0"


@pytest.mark.parametrize("variable", ["AWS_BATCH_JOB_ARRAY_INDEX", "CLOUD_RUN_TASK_INDEX"])
def test_the_platform_says_which_shard(run, monkeypatch, variable, tmp_path):
    run("tickets")
    monkeypatch.setenv(variable, "2")
    monkeypatch.setenv("CLOUD_RUN_TASK_COUNT", "4")
    assert run("classify") == 0
    assert [path.name for path in tmp_path.glob("store/runs/sharded/run/steps/classify/*.json")] == ["2-of-4.json"]
    assert run("tickets") == 0


@pytest.mark.parametrize(
    ("environ", "attempt"),
    [({}, "1"), ({"AWS_BATCH_JOB_ATTEMPT": "2"}, "2"), ({"CLOUD_RUN_TASK_ATTEMPT": "2"}, "3"), ({"AWS_BATCH_JOB_ATTEMPT": "x"}, "1")],
)
def test_the_platform_counts_attempts(run, monkeypatch, tmp_path, model, environ, attempt):
    run("tickets")
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    model.reply = lambda request: AttemptError("HTTP 400", blame="row")
    assert run("classify", "--shard", "0/4") == 1
    assert run("classify", "--shard", "0/4", "--attempt", "7") == 1
    names = {path.name for path in tmp_path.glob("store/runs/sharded/run/errors/classify/*")}
    assert names == {f"0-of-4.{attempt}.json", "0-of-4.7.json"}


def test_final_failures_and_those_worth_another_try_have_codes_of_their_own(run, model, capsys):
    run("tickets")
    model.reply = lambda request: AttemptError("HTTP 503:\nbusy", blame="busy")
    assert run("classify", "--shard", "0/4") == 75
    model.reply = lambda request: AttemptError("HTTP 400", blame="row")
    assert run("classify", "--shard", "0/4") == 1
    assert run("report") == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("error[XCS708]: ")
    assert lines[2] == "error[XCS602]: the output of 'answer' is not in the store"


def test_errors_of_the_pipelines_code_show_the_line(run, code, capsys):
    code("def load():\n    return 1 / 0\n")
    assert run("tickets") == 1
    line = capsys.readouterr().err
    assert line.startswith("error[XCS603]: pipeline:load raised ZeroDivisionError: division by zero in tickets (")
    assert line.endswith("pipeline.py:2)\n")


def test_an_error_nobody_expected_is_reported_too(run, monkeypatch, capsys, caplog):
    def fails(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("xcs_airflow.runtime.command.run_task", fails)
    assert run("tickets") == 1
    assert "error[XCS615]" in capsys.readouterr().err
    assert "No space left on device" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "environ", "reason"),
    [
        (["--task", "nothing"], {}, "XCS601"),
        (["--shard", "4/4"], {}, "XCS609"),
        (["--shard", "0/3"], {}, "XCS609"),
        (["--shard=-1/4"], {}, "XCS609"),
        (["--shard", "0"], {}, "XCS609"),
        ([], {}, "XCS609"),
        ([], {"CLOUD_RUN_TASK_INDEX": "7"}, "XCS611"),
        ([], {"CLOUD_RUN_TASK_INDEX": "1", "CLOUD_RUN_TASK_COUNT": "3"}, "XCS611"),
        (["--shard", "0/4", "--params", "[]"], {}, "XCS611"),
        (["--shard", "0/4", "--params", "{"], {}, "XCS611"),
        (["--shard", "0/4"], {"XCS_PARAMS": '{"a": NaN}'}, "XCS611"),
        (["--shard", "0/4", "--params", '{"pathh": 1}'], {}, "XCS607"),
        (["--shard", "0/4"], {"XCS_MODELS": "x"}, "XCS611"),
    ],
)
def test_wrong_calls_have_a_code_of_their_own(run, monkeypatch, capsys, arguments, environ, reason):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert run("classify", *arguments) == 2
    assert f"error[{reason}]" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [[], ["--task", "x"], ["--nonsense"], ["--task", "x", "--run", "r", "--manifest", "m", "--attempt", "x"]]
)
def test_wrong_options_print_the_usage(arguments, capsys):
    assert main(arguments) == 2
    assert "usage: python -m xcs_airflow.runtime" in capsys.readouterr().err


def test_help_explains_the_exit_codes(capsys):
    assert main(["--help"]) == 0
    assert "75 try again later" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("content", [None, "{", "[]", '{"pipeline": "p"}', '{"pipeline": "p", "pipeline": "q"}', '{"schema_version": 9}'])
def test_a_manifest_that_cannot_be_read_says_why(tmp_path, capsys, content):
    path = tmp_path / "manifest.json"
    if content is not None:
        path.write_text(content)
    assert main(["--manifest", str(path), "--task", "t", "--run", "r"]) == 1
    assert "error[XCS606]" in capsys.readouterr().err


def test_parameters_come_from_the_option_or_the_environment(graphs, code, tmp_path, model, monkeypatch):
    code("def load(path):\n    return [path]\ndef report(**inputs):\n    return inputs\n")
    manifest = lower(graphs["small"]())
    (tmp_path / "manifest.json").write_text(json.dumps(manifest.to_dict()))
    store = tmp_path / "store"
    monkeypatch.setenv("XCS_STORE", str(store))
    monkeypatch.setenv("XCS_PARAMS", '{"path": "from the environment"}')
    call = ["--manifest", f"file://{tmp_path}/manifest.json", "--task", "tickets"]
    assert main([*call, "--run", "1"]) == 0
    assert main([*call, "--run", "2", "--params", '{"path": "from the option"}']) == 0
    found = [next(store.glob(f"runs/small/{run}/steps/tickets/*.jsonl")).read_text() for run in (1, 2)]
    assert found == ['{"key": "0", "value": "from the environment"}\n', '{"key": "0", "value": "from the option"}\n']
