"""`xcs runs`: the books of earlier runs, for people, programs and accountants."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from decimal import Decimal

import pytest

from xcs_airflow.cli.focus import COLUMNS
from xcs_airflow.runtime.books import Account
from xcs_airflow.runtime.ledger import Ledger
from xcs_airflow.runtime.models import ModelAnswer
from xcs_airflow.runtime.results import run_folder
from xcs_airflow.runtime.store import LocalStore

MODEL = "openai/gpt-4.1-mini"
LIVE = Account("classify", MODEL)
BATCH = Account("summarise", MODEL, "provider_batch")
ANSWER = ModelAnswer("x", 1_000_000, 100_000, cached_tokens=0)
"""0.40 USD for a million tokens of input and 1.60 for one of output: 0.56 USD."""

PRICES = """
source = "our contract"
as_of = "2026-11-01"
[models."openai/gpt-4.1-mini"]
input_per_million_usd = 0.40
output_per_million_usd = 1.60
"""


@pytest.fixture
def keep(project):
    """Writes the books of one attempt of a run, as they are when it is killed, or closed."""
    (project / "prices.toml").write_text(PRICES)
    (project / "pyproject.toml").write_text('[tool.xcs]\nprices = "prices.toml"\n')
    store = LocalStore(project / ".xcs" / "store")

    def keep(pipeline, run_id, act, at=None, price=None):
        name = f"{run_folder(pipeline, run_id)}/ledger/task/0-of-1.1.a.jsonl"
        ledger = Ledger(lambda: store.appender(name))
        act(ledger)
        if price is None:
            ledger.flush()
        else:
            ledger.close(price)
        if at is not None:
            os.utime(project / ".xcs" / "store" / name, (at, at))

    return keep


def calls(ledger):
    """Ten answers: three remembered, one shared, five paid for, one of them in vain and one refused, two that nobody knows of."""
    ledger.note(LIVE, rows=10, hits=3, duplicates=1)
    ledger.save(LIVE, "hits", {(1_000_000, 100_000): 3})
    ledger.save(LIVE, "duplicates", {(1_000_000, 100_000): 1})
    ledger.intend(LIVE, 9)
    for outcome in ("answered",) * 5 + ("discarded",):
        ledger.settle(LIVE, ANSWER, outcome, billed_as=MODEL, seconds=1)
    ledger.fail(LIVE, "refused", "HTTP 400")
    ledger.fail(LIVE, "unknown", "lost")


def unpriced(ledger):
    ledger.intend(Account("ask", "nobody/model"), 2)
    ledger.settle(Account("ask", "nobody/model"), ANSWER, "answered", billed_as="nobody/model", seconds=1)


def rows(text):
    return [line.split() for line in text.splitlines()]


def test_runs_are_listed_newest_first_with_what_they_used_saved_and_wasted(run_xcs, keep):
    keep("triage", "old", calls, at=1_790_000_000)
    keep("triage", "new", unpriced, at=1_790_000_060)
    result = run_xcs("runs")
    assert result.exit_code == 0
    assert rows(result.stdout) == [
        ["pipeline", "run", "changed", "steps", "calls", "cost", "in", "USD", "saved", "wasted", "possibly", "billed"],
        ["triage", "new", "2026-09-21T14:14:20Z", "0", "1", "unknown", "0", "0", "1", "(unknown)"],
        ["triage", "old", "2026-09-21T14:13:20Z", "0", "5", "3.36", "2.24", "0.5600", "2", "(1.12)"],
        ["total", "6", "at", "least", "3.36", "2.24", "0.5600", "3", "(at", "least", "1.12)"],
    ]


def test_one_run_is_shown_by_operation_model_and_mechanism(run_xcs, keep):
    def both(ledger):
        calls(ledger)
        ledger.intend(BATCH, 1)
        ledger.settle(BATCH, ANSWER, "answered", billed_as=MODEL, seconds=0)

    keep("triage", "one", both, price=lambda *_, is_batch=False, **__: Decimal("0.28" if is_batch else "0.56"))
    text = run_xcs("runs", "one").stdout
    table = rows(text)
    assert table[0] == ["triage", "one:", "3.64", "USD"]
    assert ["classify", MODEL, "concurrent", "10", "5", "6,000,000", "600,000", "3.36", "3.36", "2.24", "0.5600"] in table
    assert ["summarise", MODEL, "provider_batch", "0", "1", "1,000,000", "100,000", "0.5600", "0.2800", "0.2800", "0"] in table
    assert ["total", "10", "6", "7,000,000", "700,000", "3.92", "3.64", "2.52", "0.5600"] in table
    assert "saved            2.52 USD: 1.68 by 3 answers from the cache, 0.5600 by 1 shared with an equal question, 0.2800 by batch" in text
    assert "wasted           0.5600 USD: 1 answers were paid for and could not be used" in text
    assert "possibly billed  1.12 USD: nobody knows what became of 2 calls" in text
    assert "not billed       1 calls were refused" in text
    assert "have not come to their end" not in text


def test_an_attempt_that_has_not_come_to_its_end_is_shown_as_such(run_xcs, keep):
    keep("triage", "one", calls)
    assert "1 of 1 attempts have not come to their end" in run_xcs("runs", "one").stdout


def test_the_name_of_a_pipeline_lists_its_runs(run_xcs, keep):
    keep("triage", "one", calls)
    keep("digest", "two", calls)
    assert [row[1] for row in rows(run_xcs("runs", "triage").stdout)[1:]] == ["one"]
    assert [row[1] for row in rows(run_xcs("runs", "--pipeline", "digest").stdout)[1:]] == ["two"]


def test_a_run_of_several_pipelines_needs_one_named(run_xcs, keep):
    keep("triage", "daily", calls)
    keep("digest", "daily", unpriced)
    result = run_xcs("runs", "daily")
    assert (result.exit_code, "error[XCS735]" in result.stderr, "digest, triage" in result.stderr) == (2, True, True)
    assert run_xcs("runs", "daily", "--pipeline", "digest").stdout.startswith("digest daily: unknown USD\n")


def test_an_unknown_run_is_an_error_with_a_suggestion(run_xcs, keep):
    keep("triage", "2026-11-22", calls)
    result = run_xcs("runs", "2026-11-23")
    assert result.exit_code == 2
    assert "error[XCS734]: there is no run '2026-11-23'" in result.stderr
    assert "did you mean '2026-11-22'?" in result.stderr


def test_names_that_need_quoting_are_found_and_cannot_move_the_terminal(run_xcs, keep):
    name = "scheduled__2026-11-22T06:00:00+00:00/\x1b[2J"
    keep("triage", name, calls)
    assert "scheduled__2026-11-22T06:00:00+00:00/\\x1b[2J" in run_xcs("runs").stdout
    assert run_xcs("runs", name).exit_code == 0
    long = "run " * 100
    keep("triage", long, calls)
    assert "3.36 USD" in run_xcs("runs", long).stdout


def test_only_the_newest_are_shown_unless_asked(run_xcs, keep):
    for number in range(23):
        keep("triage", f"run-{number:02}", calls, at=1_790_000_000 + number)
    names = [row[1] for row in rows(run_xcs("runs").stdout)[1:-1]]
    assert names == [f"run-{number:02}" for number in range(22, 2, -1)]
    assert len(rows(run_xcs("runs", "--limit", "2").stdout)) == 4
    assert len(json.loads(run_xcs("runs", "--format", "json").stdout)["runs"]) == 23


def test_a_store_without_runs_is_no_error_and_is_not_made(run_xcs, project):
    result = run_xcs("runs")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "there are no runs in .xcs/store" in result.stderr
    assert not (project / ".xcs").exists()


def test_the_json_form_holds_what_the_text_shows(run_xcs, keep):
    keep("triage", "one", calls, at=1_790_000_000)
    one = json.loads(run_xcs("runs", "one", "--format", "json").stdout)
    (listed,) = json.loads(run_xcs("runs", "--format", "json").stdout)["runs"]
    assert one.pop("schema_version") == 1
    assert one == listed
    assert (one["pipeline"], one["run_id"], one["changed"], one["open_attempts"]) == ("triage", "one", "2026-09-21T14:13:20Z", 1)
    assert one["began"] <= one["ended"]
    total = one["total"]
    figures = [total[name] for name in ("billed_cost_usd", "wasted_cost_usd", "possibly_billed", "possibly_billed_cost_usd")]
    assert figures == ["3.36", "0.56", 2, "1.12"]


def focus(run_xcs, *arguments):
    text = run_xcs("runs", *arguments, "--format", "focus").stdout
    return list(csv.DictReader(io.StringIO(text))), text.splitlines()[0].split(",")


def test_focus_has_a_row_for_every_operation_model_and_mechanism(run_xcs, keep):
    keep("triage", "one", calls)
    keep("triage", "two", unpriced)
    found, header = focus(run_xcs)
    assert tuple(header) == COLUMNS
    priced, unknown = sorted(found, key=lambda row: row["x_RunId"])
    facts = (
        "BilledCost",
        "EffectiveCost",
        "ListCost",
        "BillingCurrency",
        "ConsumedQuantity",
        "ConsumedUnit",
        "x_WastedCost",
        "x_SavedCost",
    )
    assert [priced[name] for name in facts] == ["3.36", "3.36", "3.36", "USD", "6600000", "Tokens", "0.56", "2.24"]
    assert Decimal(priced["ListUnitPrice"]) * int(priced["PricingQuantity"]) == pytest.approx(Decimal("3.36"))
    assert [unknown[name] for name in ("BilledCost", "ListCost", "ListUnitPrice", "x_CallsWithoutListPrice")] == ["", "", "", "1"]
    assert priced["ChargePeriodStart"] < priced["ChargePeriodEnd"]
    assert priced["BillingPeriodStart"] <= priced["ChargePeriodStart"] < priced["BillingPeriodEnd"]
    assert json.loads(priced["Tags"])["xcs/operation"] == "classify"


def test_focus_says_what_went_into_and_came_out_of_prompt_caches(run_xcs, keep):
    def cached(ledger):
        ledger.intend(LIVE, 1)
        answer = ModelAnswer("x", 1_000_000, 0, cached_tokens=300_000, written_tokens=500_000)
        ledger.settle(LIVE, answer, "answered", billed_as=MODEL, seconds=1)

    keep("triage", "one", cached)
    ((row,), _) = focus(run_xcs)
    assert (row["x_CachedTokens"], row["x_WrittenTokens"], row["BilledCost"]) == ("300000", "500000", "0.40")


def test_focus_columns_of_our_own_come_last_and_say_so(run_xcs, keep):
    own = [name.startswith("x_") for name in COLUMNS]
    assert own == sorted(own)
    standard = COLUMNS[: own.index(True)]
    assert list(standard) == sorted(standard)


def test_focus_keeps_hostile_names_as_they_are(run_xcs, keep):
    keep("triage", 'a,"b"\nc', calls)
    (row,), _ = focus(run_xcs)
    assert row["x_RunId"] == 'a,"b"\nc'


@pytest.mark.parametrize("month", [11, 12])
def test_a_billing_period_is_the_month_in_which_a_charge_begins(run_xcs, keep, monkeypatch, month):
    at = {11: 1_795_392_000, 12: 1_798_675_200}[month]
    monkeypatch.setattr("xcs_airflow.runtime.ledger._now", lambda: at)
    keep("triage", "one", calls)
    (row,), _ = focus(run_xcs)
    expected = {11: ("2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"), 12: ("2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z")}[month]
    assert (row["BillingPeriodStart"], row["BillingPeriodEnd"]) == expected


@pytest.mark.parametrize("arguments", [["--outputs"], ["one", "--outputs", "--format", "focus"]])
def test_outputs_are_those_of_one_run(run_xcs, keep, arguments):
    keep("triage", "one", calls)
    result = run_xcs("runs", *arguments)
    assert (result.exit_code, "XCS805" in result.stderr) == (2, True)


def test_a_run_shows_its_steps_its_outputs_and_its_books(run_xcs, models, server, project):
    """What `xcs run` left, read back: the checksums are those of the files."""
    assert run_xcs("run", "pipeline.py", "--models", models, "--run-id", "one").exit_code == 0
    document = json.loads(run_xcs("runs", "one", "--outputs", "--format", "json").stdout)
    assert (document["finished_steps"], document["total"]["calls"], document["total"]["duplicates"]) == (3, 2, 1)
    assert document["open_attempts"] == 0
    assert {output["step"]: output["count"] for output in document["outputs"]} == {"load": 3, "classify": 3, "report": 1}
    for output in document["outputs"]:
        data = (project / ".xcs" / "store" / output["data"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == output["sha256"]
    text = run_xcs("runs", "one", "--outputs").stdout
    assert "3 steps finished" in text
    assert document["outputs"][0]["sha256"][:16] in text
    before = sorted(path for path in (project / ".xcs").rglob("*"))
    run_xcs("runs", "one", "--outputs")
    assert sorted(path for path in (project / ".xcs").rglob("*")) == before
