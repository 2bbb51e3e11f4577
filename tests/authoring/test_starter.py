"""The triage starter: its graph, and the same page whichever way it runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from xcs_airflow import CloudExporter, LLMGraphEnhancer, load_pipeline
from xcs_airflow.jit.executor import LLMOptimizedExecutor
from xcs_airflow.runtime import RuntimeSettings
from xcs_airflow.testing import fake_models

FOLDER = Path(__file__).parents[2] / "templates/starters/triage"

REPLIES = {
    "Which team": "bug",
    "Is it urgent?": {"order": "INV-1", "urgent": True},
    "in one line": "Wants help.",
}


@pytest.fixture
def triage():
    return load_pipeline(f"{FOLDER / 'pipeline.py'}:triage")


def test_its_graph_reads_like_the_function(triage):
    assert str(triage.graph()).splitlines() == [
        "graph triage(path=\"tickets.jsonl\") schedule='0 6 * * *' budget=1 USD deadline=3600 s:",
        "  %load = pipeline:load(path=$path, limit=0) [items 240]  # pipeline.py:68",
        "  %classify = map llm openai/gpt-4.1-mini(ticket=each %load) [max 16 t 0]  # pipeline.py:69",
        "  %extract = map llm openai/gpt-4.1-mini(ticket=each %load) [max 100 t 0]  # pipeline.py:69",
        "  %summarise = map llm openai/gpt-4.1-mini pipeline:summarise(ticket=each %load) [max 100 t 0]  # pipeline.py:69",
        "  %report = pipeline:report(teams=%classify, details=%extract, summaries=%summarise)  # pipeline.py:69",
        "  return %report",
    ]


def test_it_travels_with_its_tickets(triage):
    assert list(triage.code()) == ["pipeline.py", "tickets.jsonl"]


def test_only_the_texts_of_tickets_reach_a_model(triage):
    tickets = [json.loads(line) for line in (FOLDER / "tickets.jsonl").read_text(encoding="utf-8").splitlines()]
    with fake_models(REPLIES) as calls:
        triage()

    assert {prompt.partition("\n\n")[2] for prompt in calls.prompts} == {ticket["text"] for ticket in tickets}


def test_it_asks_once_about_texts_that_are_the_same(triage):
    with fake_models(REPLIES) as calls:
        triage()
    assert calls.count == len(set(calls.prompts)) == 540


def test_exported_and_run_it_writes_the_page_that_the_function_writes(triage, tmp_path):
    plan = CloudExporter().export(LLMGraphEnhancer().enhance(triage.graph()))
    settings = RuntimeSettings(store=str(tmp_path / "store"), cache="off", code=FOLDER)
    with fake_models(REPLIES) as calls:
        page = triage()
        assert LLMOptimizedExecutor(plan.manifest, settings).run("run-1") == page
    assert calls.count == 2 * 540
    assert page.startswith("# Triage\n\n## Teams\n- bug: 240\n\n## Urgent\n- **bug** Wants help.\n")
    assert page.endswith("## Orders\n- INV-1\n")


@pytest.mark.parametrize("tickets", [0, 1, 2400])
def test_any_number_of_tickets_is_fine(triage, tmp_path, tickets):
    file = tmp_path / "tickets.jsonl"
    file.write_text("".join(f'{{"text": "Ticket {number % 7}"}}\n' for number in range(tickets)), encoding="utf-8")
    with fake_models(REPLIES) as calls:
        triage(str(file))
    assert calls.count == 3 * min(tickets, 7)
