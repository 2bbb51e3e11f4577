"""`xcs plan`: the figures, as text or as the plan's own document, and a gate where one is asked for."""

from __future__ import annotations

import json
from decimal import Decimal

import jsonschema
import pytest

from xcs_airflow.ir.graph import Decision
from xcs_airflow.plan import json_schema
from xcs_airflow.plan.text import savings


def test_the_plan_is_printed(run_xcs):
    result = run_xcs("plan", "pipeline.py:triage")
    assert result.exit_code == 0
    assert result.stdout.startswith("triage: ")
    assert "\noperation " in result.stdout
    assert "CacheInsertionPass for classify" in result.stdout


def test_the_json_form_is_the_plan_that_bundles_hold(run_xcs, project):
    result = run_xcs("plan", "pipeline.py:triage", "--target", "plain", "--format", "json")
    run_xcs("export", "pipeline.py", "-t", "plain")
    assert result.stdout == (project / "build" / "xcs" / "plain" / "triage" / "plan.json").read_text()
    jsonschema.validate(json.loads(result.stdout), json_schema())


def test_a_plan_for_all_targets_alike_names_none(run_xcs):
    assert "target" not in json.loads(run_xcs("plan", "pipeline.py:triage", "--format", "json").stdout)


def test_a_plan_for_a_target_says_so_at_its_head(run_xcs):
    assert "\nfor plain, " in run_xcs("plan", "pipeline.py:triage", "-t", "plain").stdout


def test_a_plan_for_a_target_that_nobody_knows_is_refused(run_xcs):
    result = run_xcs("plan", "pipeline.py:triage", "-t", "nowhere")
    assert result.exit_code == 2
    assert "nowhere" in result.stderr


def test_without_passes_it_is_planned_as_written(run_xcs):
    decisions = [
        json.loads(run_xcs("plan", "pipeline.py", flag, "--format", "json").stdout)["decisions"] for flag in ("--passes", "--no-passes")
    ]
    assert decisions[0] != []
    assert decisions[1] == []


def test_the_only_configured_pipeline_needs_no_name(run_xcs, project):
    (project / "pyproject.toml").write_text('[tool.xcs]\npipelines = ["pipeline.py"]\n')
    assert run_xcs("plan").stdout.startswith("triage: ")


def test_among_several_configured_pipelines_one_must_be_named(run_xcs, project):
    (project / "pyproject.toml").write_text('[tool.xcs]\npipelines = ["pipeline.py", "other.py"]\n')
    result = run_xcs("plan")
    assert result.exit_code == 2
    assert "known: other.py, pipeline.py" in result.stderr


@pytest.mark.parametrize(("limit", "expected"), [("5", 0), ("5 USD", 0), ("0", 1), ("0.0000001", 1)])
def test_a_cost_over_the_limit_is_an_exit_code(run_xcs, limit, expected):
    result = run_xcs("plan", "pipeline.py", "--max-cost", limit)
    assert result.exit_code == expected
    assert result.stdout.startswith("triage: ")
    assert ("error[XCS401]" in result.stderr) is bool(expected)


@pytest.mark.parametrize("limit", ["five", "-1", "nan", "inf"])
def test_a_limit_must_be_an_amount(run_xcs, limit):
    result = run_xcs("plan", "pipeline.py", "--max-cost", limit)
    assert result.exit_code == 2
    assert "is not an amount" in result.stderr


def test_a_missing_price_is_the_first_thing_said(run_xcs, project):
    text = (project / "pipeline.py").read_text().replace("openai/gpt-4.1-mini", "acme/nobody-knows")
    (project / "pipeline.py").write_text(text)
    result = run_xcs("plan", "pipeline.py")
    assert result.stdout.startswith("triage: at least 0 USD per run, because no price is known for acme/nobody-knows\n")
    assert "warning[XCS402]" in result.stderr
    rates = {"input_per_million_usd": "1", "output_per_million_usd": "2"}
    (project / "prices.json").write_text(json.dumps({"source": "contract", "as_of": "2026-11-01", "models": {"acme/nobody-knows": rates}}))
    assert "at least" not in run_xcs("plan", "pipeline.py", "--prices", "prices.json").stdout


def test_the_frontier_is_printed_and_written_as_json(run_xcs):
    result = run_xcs("plan", "pipeline.py:triage", "--frontier")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[2].split()[-3:] == ["what", "to", "write"]
    document = json.loads(run_xcs("plan", "pipeline.py:triage", "--frontier", "--format", "json").stdout)
    assert document["pipeline"] == "triage"
    assert len(document["plans"]) == len(result.stdout.splitlines()) - 3


def test_the_frontier_of_a_target_is_that_of_its_machines(run_xcs):
    result = run_xcs("plan", "pipeline.py:triage", "--frontier", "--target", "aws-batch")
    assert result.exit_code == 0
    assert result.stdout.startswith("triage on aws-batch: ")
    document = json.loads(run_xcs("plan", "pipeline.py:triage", "--frontier", "--target", "aws-batch", "--format", "json").stdout)
    assert document["target"] == "aws-batch"
    assert all(Decimal(plan["compute_usd"]["expected"]) > 0 for plan in document["plans"])
    assert run_xcs("plan", "pipeline.py:triage", "--frontier", "--target", "aws-bach").exit_code != 0


@pytest.mark.parametrize("flags", [("--max-cost", "1"), ("--no-passes",)])
def test_what_a_frontier_cannot_heed_is_refused(run_xcs, flags):
    result = run_xcs("plan", "pipeline.py:triage", "--frontier", *flags)
    assert result.exit_code == 2
    assert "leave" in result.stderr


def test_a_traded_amount_is_said_as_one():
    spent = Decision(pass_name="p", operation="a", action="applied", reason="r", saves_usd=Decimal("-0.5"), saves_s=60)
    assert savings([spent]) == "; saves 1 min; takes 0.5000 USD more"
