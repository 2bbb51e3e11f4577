"""`xcs check`: all that can be known before a run, as findings and an exit code."""

from __future__ import annotations

import json

from xcs_airflow.ir import dumps


def test_a_sound_pipeline_is_ok(run_xcs, project):
    result = run_xcs("check", "pipeline.py", "--target", "plain")
    assert result.exit_code == 0
    assert result.stdout == "triage: ok, 3 operations in 3 tasks, for plain\n"
    assert "warning[XCS506]" in result.stderr
    assert sorted(path.name for path in project.iterdir() if path.name != "__pycache__") == ["pipeline.py"]


def test_every_finding_of_every_stage_and_target_is_reported(run_xcs, project, codes):
    text = (project / "pipeline.py").read_text().replace("@pipeline\n", '@pipeline(budget="0 USD", deadline=0.1)\n')
    (project / "pipeline.py").write_text(text)
    result = run_xcs("check", "pipeline.py", "gone.py", "-t", "picky", "-t", "careful", "--format", "json")
    assert result.exit_code == 1
    assert codes(result) == ["XCS401", "XCS404", "XCS502", "XCS502", "XCS506", "XCS801"]
    assert json.loads(result.stdout)["schema_version"] == 1


def test_findings_go_to_stderr_and_nothing_is_called_ok(run_xcs):
    result = run_xcs("check", "pipeline.py", "-t", "careful")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "error[XCS506]: names: too long" in result.stderr


def test_a_graph_file_is_checked_without_running_anything(run_xcs, project, graph):
    (project / "graph.json").write_text(dumps(graph))
    (project / "pipeline.py").write_text("raise SystemExit('imported')\n")
    assert run_xcs("check", "graph.json").exit_code == 0


def test_the_configured_pipelines_and_targets_are_checked(run_xcs, project):
    (project / "pyproject.toml").write_text('[tool.xcs]\npipelines = ["pipeline.py"]\n[tool.xcs.targets.plain]\n')
    assert run_xcs("check").stdout == "triage: ok, 3 operations in 3 tasks, for plain\n"
