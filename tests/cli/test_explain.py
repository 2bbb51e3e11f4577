"""`xcs explain`: why an operation is planned as it is, and what a code means."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from xcs_airflow.errors import CODES


def test_an_operation_is_told_in_prose(run_xcs):
    result = run_xcs("explain", "pipeline.py:triage", "classify")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "%classify  (pipeline.py:22)"
    assert lines[1].startswith("  It asks openai/gpt-4.1-mini once for each of 3 items, after %load.")
    assert any(line.startswith("  calls: 3") for line in lines)
    assert any(line.startswith("  cost: 0.00") for line in lines)
    assert any("CacheInsertionPass applied" in line for line in lines)


def test_a_task_that_is_probed_says_so_and_why_another_is_not(run_xcs):
    pipeline = str(Path(__file__).parents[1] / "pipelines" / "probed" / "pipeline.py")
    told = [run_xcs("explain", pipeline, name, "--target", "cloud-run").stdout for name in ("classify", "greet")]
    probed, not_probed = (" ".join(text.split()) for text in told)
    assert "over 6 shards, which is started only if classify.probe finds an answer missing." in probed
    assert "ProbeBeforeStart applied: all is known in 10% of runs (assumed): a probe takes 0.0011 USD and 10 s each time" in probed
    assert "saves 0.0093 USD; takes 8.5 s more (rule: a start is billed from its first second" in probed
    assert "ProbeBeforeStart skipped: the answers of %greet are not remembered for other runs (rule:" in not_probed
    assert "which is started only" not in not_probed


def test_without_a_name_every_operation_is_told(run_xcs):
    result = run_xcs("explain", "pipeline.py")
    assert [line.split(" ")[0] for line in result.stdout.splitlines() if line.startswith("%")] == ["%load", "%classify", "%report"]


def test_the_json_form_holds_the_figures(run_xcs):
    document = json.loads(run_xcs("explain", "pipeline.py", "%classify", "--format", "json").stdout)
    assert document["schema_version"] == 1
    (only,) = document["operations"]
    assert only["operation"]["id"] == "classify"
    assert only["task"]["operations"] == ["classify"]
    assert {decision["operation"] for decision in only["decisions"]} == {"classify"}


def test_an_unknown_operation_gets_a_suggestion(run_xcs):
    result = run_xcs("explain", "pipeline.py", "clasify")
    assert result.exit_code == 2
    assert "did you mean 'classify'?" in result.stderr


@pytest.mark.parametrize("code", CODES)
def test_every_code_can_be_explained(run_xcs, code):
    result = run_xcs("explain", code.lower())
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{code}: ")
    assert set(re.findall(r"\{\w*(?:![rs])?\}", result.stdout)) <= {"{ticket}"}


def test_a_code_is_explained_with_its_hint(run_xcs):
    assert run_xcs("explain", "XCS501").stdout == (
        "XCS501: there is no exporter named NAME\n"
        "What to do: the message names the nearest that exists\n"
        "It is one of the codes about exporters and bundles; docs/errors.md explains it.\n"
    )


def test_a_code_that_does_not_exist_gets_a_suggestion(run_xcs):
    result = run_xcs("explain", "XCS999")
    assert result.exit_code == 2
    assert "there is no error code 'XCS999'" in result.stderr
