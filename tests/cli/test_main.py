"""`xcs` as a whole: help, suggestions, streams, and what happens when xcs itself is at fault."""

from __future__ import annotations

import json

import jsonschema
import pytest

from xcs_airflow.cli import stages
from xcs_airflow.cli.main import all_commands
from xcs_airflow.exporting.assemble import tool_version
from xcs_airflow.ir import dumps


@pytest.mark.parametrize("name", all_commands())
def test_every_command_has_help_with_examples(run_xcs, name):
    result = run_xcs(*name.split(), "--help")
    assert result.exit_code == 0
    assert "\nExamples:\n  xcs" in result.stdout
    assert run_xcs(*name.split(), "-h").stdout == result.stdout


@pytest.mark.parametrize("name", all_commands())
def test_every_option_says_what_it_does(name):
    assert [
        option.name for option in all_commands()[name].params if getattr(option, "opts", [""])[0].startswith("-") and not option.help
    ] == []


def test_a_misspelt_command_gets_a_suggestion(run_xcs):
    result = run_xcs("plna")
    assert result.exit_code == 2
    assert "plan" in result.stderr
    assert result.stdout == ""


def test_the_version_is_printed(run_xcs):
    assert run_xcs("--version").stdout == f"xcs-airflow {tool_version()}\n"


@pytest.mark.parametrize("document", ["graph", "manifest", "plan", "profile"])
def test_schemas_are_printed(run_xcs, document):
    jsonschema.Draft202012Validator.check_schema(json.loads(run_xcs("schema", document).stdout))


def test_findings_cannot_move_the_terminal(run_xcs, project, graph):
    hostile = graph.operations[1].model_copy(update={"source": "\x1b[2Jpipe\rline.py:1", "map_over": ("nothing",)})
    (project / "graph.json").write_text(dumps(graph.replace(operations=[graph.operations[0], hostile], output=None)))
    result = run_xcs("check", "graph.json")
    assert result.exit_code == 1
    assert "from \\x1b[2Jpipe\\rline.py:1" in result.stderr
    assert [char for char in result.stderr if not char.isprintable() and char != "\n"] == []


def fail(*_, **__):
    raise RuntimeError("our mistake")


def test_our_own_mistakes_are_short_and_say_how_to_report_them(run_xcs, monkeypatch):
    monkeypatch.setattr(stages, "compile_pipeline", fail)
    result = run_xcs("plan", "pipeline.py")
    assert result.exit_code == 2
    assert "RuntimeError: our mistake" in result.stderr
    assert "XCS_TRACEBACK=1" in result.stderr
    assert "Traceback" not in result.stderr
    monkeypatch.setenv("XCS_TRACEBACK", "1")
    assert "Traceback (most recent call last)" in run_xcs("plan", "pipeline.py").stderr


def test_ctrl_c_ends_without_a_traceback(run_xcs, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(stages, "compile_pipeline", interrupt)
    result = run_xcs("plan", "pipeline.py")
    assert result.exit_code == 130
    assert result.stderr == "\ninterrupted\n"


def test_a_process_keeps_its_streams_apart(start_xcs):
    done = start_xcs("plan", "pipeline.py:triage", "--format", "json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["name"] == "triage"
    assert done.stderr == "a module may talk\n"


def test_a_process_reports_user_errors_without_a_traceback(start_xcs):
    done = start_xcs("gone.py:f", "--target", "plain", script="xcs-export")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error[XCS801]: 'gone.py:f' does not name a pipeline")
    assert "Traceback" not in done.stderr


def test_output_that_the_terminal_cannot_encode_is_no_error(start_xcs, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    monkeypatch.setenv("PYTHONUTF8", "0")
    done = start_xcs("plan", "pipeline.py")
    assert done.returncode == 0
    assert done.stdout.startswith("triage: ")


def test_output_does_not_depend_on_hash_seeds(start_xcs, monkeypatch):
    outputs = set()
    for seed in ("0", "1", "2"):
        monkeypatch.setenv("PYTHONHASHSEED", seed)
        outputs.add(start_xcs("plan", "pipeline.py", "--format", "json").stdout)
    assert len(outputs) == 1
