"""The profile: written by runs, used by the next plan, and held against what came of it."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from click.testing import CliRunner

from xcs_airflow.cli.export import export

PIPELINE = """
from xcs_airflow import llm, op, pipeline


@op
def load(first: int) -> list[str]:
    return [f"ticket {number}" for number in range(first, first + 60)] + ["ticket 0"] * 20


classify = llm("openai/gpt-4.1-mini", "Which team?\\n\\n{ticket}", temperature=0)


@op
def report(teams: list[str]) -> int:
    return len(teams)


@pipeline
def triage(first: int = 0):
    return report(classify.map(ticket=load(first)))
"""


@pytest.fixture
def tickets(project, server):
    """A pipeline of 80 tickets, 61 at most of them different, whose answers differ in length."""
    (project / "pipeline.py").write_text(PIPELINE)

    def tokens(question):
        number = int(question.split()[-1])
        return 40 + number * 13 % 29, 20 + number * 7 % 41

    server.tokens = tokens
    return project


@pytest.fixture
def plan(run_xcs):
    def read(*arguments):
        return json.loads(run_xcs("plan", "pipeline.py", "--format", "json", *arguments).stdout)

    return read


@pytest.fixture
def run(run_xcs, models):
    def start(*arguments):
        result = run_xcs("run", "pipeline.py", "--models", models, "--format", "json", *arguments)
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    return start


def test_the_plan_after_a_run_is_within_5_percent_of_the_next_run(tickets, plan, run):
    guessed = plan()
    run("--param", "first=1")
    expected = plan()
    used = run("--param", "first=1001", "--cache", "sqlite:///other.sqlite")["total"]
    totals = expected["totals"]
    for figure, spent in (
        (totals["cost_usd"], Decimal(used["billed_cost_usd"])),
        (totals["input_tokens"], used["input_tokens"]),
        (totals["output_tokens"], used["output_tokens"]),
    ):
        assert float(figure["expected"]) == pytest.approx(float(spent), rel=0.05)
        assert float(spent) <= float(figure["high"])
    assert totals["calls"] == used["calls"] == 61
    assert float(guessed["totals"]["cost_usd"]["expected"]) != pytest.approx(float(used["billed_cost_usd"]), rel=0.5)


def test_a_plan_tells_how_far_off_the_last_one_was(tickets, plan, run, run_xcs):
    run("--param", "first=1")
    run("--param", "first=1001", "--run-id", "second")
    known = plan()["profile"]
    assert (known["runs"], known["accuracy"]["run_id"]) == (2, "second")
    (classify,) = [entry for entry in known["accuracy"]["operations"] if entry["operation"] == "classify"]
    assert classify["calls"]["actual"] == 60
    assert classify["calls"]["error"] < 0.05
    assert classify["cost_usd"]["is_covered"]
    assert classify["seconds"]["actual"] > 0
    assert known["accuracy"]["cost_mape"] == classify["cost_usd"]["error"] < 0.05
    assert (known["accuracy"]["covered"], known["accuracy"]["compared"]) == (1, 1)
    assert known["accuracy"]["total"]["seconds"]["actual"] > 0
    text = run_xcs("plan", "pipeline.py").stdout
    assert "estimate against the last run, expected → actual (second)" in text
    assert "1 of 1 operations cost no more than at worst" in text
    assert max(map(len, text.splitlines())) <= 118
    said = run_xcs("explain", "pipeline.py", "classify").stdout
    assert "measured in earlier runs" in said
    assert "p50" in said
    assert "p90" in said


def test_the_same_profile_gives_the_same_plan_and_no_profile_that_of_before(tickets, plan, run):
    before = plan()
    assert "profile" not in before
    run("--param", "first=1")
    content = (tickets / "profile.json").read_bytes()
    assert plan() == plan()
    assert plan("--no-profile") == before
    assert (tickets / "profile.json").read_bytes() == content


def test_answers_from_the_cache_are_expected_as_often_as_before(tickets, plan, run):
    run("--param", "first=1")
    cold = plan()["profile"]["operations"][0]
    run("--param", "first=1")
    warm = plan()["profile"]["operations"][0]
    assert (cold["hit_share"], warm["hit_share"]) == (0, 0.5)
    assert warm["live_calls"]["expected"] == pytest.approx(cold["live_calls"]["expected"] / 2)
    assert plan()["totals"]["calls"] == 61


def test_a_run_that_goes_on_is_measured_once_and_without_its_time(tickets, run):
    for _ in range(2):
        run("--param", "first=1", "--run-id", "one")
    (only,) = json.loads((tickets / "profile.json").read_text())["pipelines"]["triage"]["runs"]
    assert only["operations"]["classify"]["calls"] == 61
    assert "seconds" not in only


def test_where_the_profile_is_can_be_said(tickets, plan, run, monkeypatch):
    run("--no-profile")
    assert not list(tickets.glob("*.json"))
    run("--profile", "flag.json")
    monkeypatch.setenv("XCS_PROFILE", "variable.json")
    run()
    monkeypatch.delenv("XCS_PROFILE")
    (tickets / "pyproject.toml").write_text('[tool.xcs]\nprofile = "table.json"\n')
    run()
    assert sorted(path.name for path in tickets.glob("*.json")) == ["flag.json", "table.json", "variable.json"]
    assert plan("--profile", "flag.json")["profile"]["runs"] == 1


def test_both_options_at_once_are_refused(tickets, run_xcs):
    result = run_xcs("plan", "pipeline.py", "--profile", "p.json", "--no-profile")
    assert result.exit_code == 2
    assert "--no-profile" in result.stderr


def test_a_file_that_is_no_profile_stops_a_run_before_it_begins(tickets, run_xcs, models, codes):
    (tickets / "profile.json").write_text("[]")
    result = run_xcs("run", "pipeline.py", "--models", models, "--format", "json")
    assert codes(result) == ["XCS406"]
    assert not (tickets / ".xcs").exists()


def test_a_profile_that_cannot_be_written_does_not_spoil_a_run(tickets, run_xcs, models):
    in_the_way = PIPELINE.replace("    return len(teams)", "    import os\n\n    os.mkdir('late.json')\n    return len(teams)")
    (tickets / "pipeline.py").write_text(in_the_way)
    result = run_xcs("run", "pipeline.py", "--models", models, "--profile", "late.json")
    assert (result.exit_code, result.stdout) == (0, "80\n")
    assert "warning[XCS406]" in result.stderr


def test_bundles_name_the_profile_and_stay_the_same_with_it(tickets, run):
    run("--param", "first=1")
    folders = [tickets / name for name in ("one", "two", "without")]
    for folder, more in zip(folders, ([], [], ["--no-profile"]), strict=True):
        arguments = ["pipeline.py", "--target", "airflow", "--output", str(folder), *more]
        assert CliRunner().invoke(export, arguments, catch_exceptions=False).exit_code == 0
    plans = [(folder / "airflow" / "triage" / "plan.json").read_bytes() for folder in folders]
    assert plans[0] == plans[1]
    document = json.loads(plans[0])
    assert document["profile"]["runs"] == 1
    assert document["operations"][1]["estimate"]["output_tokens"]["source"] == "profile"
    assert "profile" not in json.loads(plans[2])


def test_a_profile_can_be_made_of_what_runs_left_in_their_store(tickets, plan, run, run_xcs):
    for number in (1, 2):
        run("--param", f"first={number}000", "--run-id", f"run-{number}", "--no-profile")
    assert run_xcs("runs", "triage", "--write-profile", "made.json").exit_code == 0
    made = (tickets / "made.json").read_bytes()
    assert run_xcs("runs", "run-1", "--write-profile", "made.json").exit_code == 0
    assert (tickets / "made.json").read_bytes() == made
    known = plan("--profile", "made.json")
    assert (known["profile"]["runs"], known["profile"]["accuracy"]) == (2, None)
    assert known["operations"][1]["estimate"]["input_tokens"]["source"] == "profile"
    # The first run made 61 calls, the second 60: one answer was in the cache.
    assert known["profile"]["operations"][0]["live_calls"]["expected"] == pytest.approx(60.5, rel=0.02)


def test_books_do_not_take_the_place_of_a_run_of_which_more_is_known(tickets, plan, run, run_xcs):
    run("--param", "first=1", "--run-id", "one")
    before = (tickets / "profile.json").read_bytes()
    run_xcs("runs", "one", "--write-profile", "profile.json")
    assert (tickets / "profile.json").read_bytes() == before
