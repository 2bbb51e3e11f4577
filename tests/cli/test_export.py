"""`xcs-export`: everything or nothing, found by what the project says, and nobody else's files."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from xcs_airflow.cli.export import export
from xcs_airflow.ir import dumps


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_pipeline_becomes_a_folder_per_target(run_xcs, project):
    result = run_xcs("export", "pipeline.py:triage", "--target", "plain")
    assert result.exit_code == 0
    assert sorted(tree(project / "build" / "xcs")) == [
        "plain/triage/bundle.json",
        "plain/triage/code/pipeline.py",
        "plain/triage/manifest.json",
        "plain/triage/plain.txt",
        "plain/triage/plan.json",
    ]
    assert "build/xcs/plain/triage: 5 files created" in result.stdout
    assert "USD per run" in result.stdout
    assert "warning[XCS506]: greeting: it is short" in result.stderr


def test_xcs_export_is_the_same_command(project):
    result = CliRunner().invoke(export, ["pipeline.py:triage", "-t", "plain", "-o", "out"])
    assert result.exit_code == 0
    assert (project / "out" / "plain" / "triage" / "plain.txt").read_text() == "hello triage"


def test_what_a_module_prints_does_not_reach_stdout(run_xcs):
    result = run_xcs("export", "pipeline.py", "-t", "plain", "--format", "json")
    assert "a module may talk" in result.stderr
    bundle = json.loads(result.stdout)["bundles"][0]
    assert (bundle["pipeline"], bundle["target"], bundle["folder"]) == ("triage", "plain", "build/xcs/plain/triage")
    assert bundle["created"] == ["bundle.json", "code/pipeline.py", "manifest.json", "plain.txt", "plan.json"]


def test_exporting_again_changes_nothing(run_xcs, project):
    run_xcs("export", "pipeline.py", "-t", "plain")
    before = {path: path.stat().st_mtime_ns for path in (project / "build").rglob("*")}
    result = run_xcs("export", "pipeline.py", "-t", "plain")
    assert "5 files, all as they were" in result.stdout
    assert {path: path.stat().st_mtime_ns for path in (project / "build").rglob("*")} == before


def test_a_dry_run_names_every_file_and_writes_none(run_xcs, project):
    result = run_xcs("export", "pipeline.py", "-t", "plain", "--dry-run")
    assert "    create plain.txt\n" in result.stdout
    assert not (project / "build").exists()


def test_a_configured_project_needs_no_names(run_xcs, project):
    (project / "pyproject.toml").write_text(
        '[tool.xcs]\npipelines = ["pipeline.py:triage"]\noutput = "dist"\n[tool.xcs.targets.plain]\ngreeting = "good day"\n'
    )
    assert run_xcs("export").exit_code == 0
    assert (project / "dist" / "plain" / "triage" / "plain.txt").read_text() == "good day triage"


def test_flags_go_before_variables_and_variables_before_the_file(run_xcs, project, monkeypatch):
    (project / "pyproject.toml").write_text('[tool.xcs]\npipelines = ["missing.py:x"]\noutput = "from-file"\n')
    monkeypatch.setenv("XCS_OUTPUT", "from-variable")
    assert run_xcs("export", "pipeline.py", "-t", "plain").exit_code == 0
    assert run_xcs("export", "pipeline.py", "-t", "plain", "-o", "from-flag").exit_code == 0
    assert sorted(path.name for path in project.iterdir() if path.name.startswith("from")) == ["from-flag", "from-variable"]


def test_a_graph_as_json_brings_no_code(run_xcs, project, graph):
    (project / "graph.json").write_text(dumps(graph))
    assert run_xcs("export", "graph.json", "-t", "plain", "-o", "out").exit_code == 0
    assert sorted(tree(project / "out")) == [f"plain/small/{name}" for name in ("bundle.json", "manifest.json", "plain.txt", "plan.json")]


def test_everything_wrong_with_any_pipeline_and_target_is_said_at_once(run_xcs, project, graph, codes):
    (project / "bad.json").write_text(dumps(graph).replace('"Ref', '"X').replace('"operation": "tickets"', '"operation": "tikets"'))
    result = run_xcs("export", "pipeline.py", "bad.json", "gone.py:f", "-t", "picky", "-t", "careful", "-t", "plan", "--format", "json")
    assert result.exit_code == 1
    assert codes(result) == ["XCS502", "XCS502", "XCS506", "XCS501", "XCS203", "XCS203", "XCS801"]
    assert not (project / "build").exists()


def test_files_that_are_in_the_way_of_one_bundle_stop_all(run_xcs, project):
    theirs = project / "build" / "xcs" / "plain" / "other" / "plain.txt"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("mine")
    (project / "other.py").write_text((project / "pipeline.py").read_text().replace("def triage", "def other"))
    result = run_xcs("export", "pipeline.py", "other.py", "-t", "plain")
    assert result.exit_code == 1
    assert "error[XCS504]: build/xcs/plain/other/plain.txt exists and was not written by xcs-export" in result.stderr
    assert sorted(tree(project / "build")) == ["xcs/plain/other/plain.txt"]
    assert theirs.read_text() == "mine"


def test_two_pipelines_of_one_name_are_refused(run_xcs, project):
    (project / "second.py").write_text((project / "pipeline.py").read_text())
    result = run_xcs("export", "pipeline.py", "second.py", "-t", "plain")
    assert result.exit_code == 1
    assert "two pipelines are named 'triage': pipeline.py and second.py" in result.stderr


@pytest.mark.parametrize("name", ["../../escape", "/tmp", "nul", "a/b"])
def test_a_graph_cannot_choose_a_folder_by_its_name(run_xcs, project, graph, name):
    (project / "graph.json").write_text(dumps(graph.replace(name=name)))
    result = run_xcs("export", "graph.json", "-t", "plain", "-o", "deep/out")
    assert result.exit_code == 1
    assert "XCS510" in result.stderr
    assert not (project / "deep").exists()


def test_a_missed_budget_is_a_warning(run_xcs, project):
    text = (project / "pipeline.py").read_text().replace("@pipeline\n", '@pipeline(budget="0 USD")\n')
    (project / "pipeline.py").write_text(text)
    result = run_xcs("export", "pipeline.py", "-t", "plain")
    assert result.exit_code == 0
    assert "warning[XCS401]" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "XCS802"),
        (["pipeline.py"], 2, "name a target"),
        (["pipeline.py", "-t", "plian"], 2, "did you mean 'plain'?"),
        (["pipeline.py", "-t", "broken"], 1, "XCS509"),
        (["pipeline.py:triag", "-t", "plain"], 2, "did you mean 'triage'?"),
        (["gone.json", "-t", "plain"], 2, "XCS801"),
        (["pipeline.py", "-t", "plain", "--prices", "gone.json"], 1, "XCS403"),
        (["pipeline.py", "-t", "plain", "-o", "pipeline.py"], 1, "XCS513"),
        (["pipeline.py", "--targte", "plain"], 2, "--target"),
    ],
)
def test_what_cannot_be_done_is_explained(run_xcs, arguments, code, message):
    result = run_xcs("export", *arguments)
    assert result.exit_code == code
    assert message in result.stderr
    assert result.stdout == ""


def test_the_users_own_mistake_is_shown_with_its_line(run_xcs, project):
    (project / "pipeline.py").write_text("x = 1\ny = x / 0\n")
    result = run_xcs("export", "pipeline.py", "-t", "plain")
    assert result.exit_code == 1
    assert "ZeroDivisionError" in result.stderr
    assert "pipeline.py:2" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_image_follows_the_settings(run_xcs, project):
    (project / "pyproject.toml").write_text('[tool.xcs.image]\nrequirements = "gone.txt"\n')
    result = run_xcs("export", "pipeline.py", "-t", "plain")
    assert result.exit_code == 1
    assert "XCS515" in result.stderr
