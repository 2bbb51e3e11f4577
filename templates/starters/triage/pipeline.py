"""Triage: sort the support inbox every morning and leave one page to read."""

import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from xcs_airflow import llm, op, pipeline

MODEL = "openai/gpt-4.1-mini"
SECRETS = {"OPENAI_API_KEY": "openai-api-key"}  # the variable, and the secret's name in your secret store

Team = Literal["billing", "bug", "account", "feature", "other"]


class Details(BaseModel):
    """What a ticket is about."""

    order: Annotated[str, Field(max_length=20)] | None
    urgent: bool


@op(items=240, distinct_items=180)
def load(path: str = "tickets.jsonl", limit: int = 0) -> list[str]:
    """Read the text of every ticket, or of the first few."""
    lines = (Path(__file__).parent / path).read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["text"] for line in lines[: limit or None]]


classify = llm(
    MODEL,
    "Which team handles this support ticket: billing, bug, account, feature or other?\n\n{ticket}",
    output=Team,
    temperature=0,
    max_tokens=16,
    secrets=SECRETS,
)

extract = llm(
    MODEL,
    "Which order or invoice number does this support ticket name, if any? Is it urgent?\n\n{ticket}",
    output=Details,
    temperature=0,
    max_tokens=100,
    secrets=SECRETS,
)


@llm(MODEL, temperature=0, max_tokens=100, secrets=SECRETS)
def summarise(ticket: str) -> str:
    return f"Say in one line what the customer wants:\n\n{ticket}"


@op
def report(teams: list[Team], details: list[Details], summaries: list[str]) -> str:
    """Write the page: tickets per team, what cannot wait, and the orders to look up."""
    counts = [f"- {team}: {count}" for team, count in Counter(teams).most_common()]
    urgent = [f"- **{team}** {line}" for team, detail, line in zip(teams, details, summaries, strict=True) if detail.urgent]
    orders = [f"- {order}" for order in sorted({detail.order for detail in details if detail.order})]
    return "\n".join(["# Triage", "", "## Teams", *counts, "", "## Urgent", *urgent, "", "## Orders", *orders, ""])


@pipeline(schedule="0 6 * * *", budget="1 USD", deadline="1h", files=["tickets.jsonl"])
def triage(path: str = "tickets.jsonl") -> str:
    """Sort the support inbox every morning and leave one page to read."""
    tickets = load(path)
    return report(classify.map(ticket=tickets), extract.map(ticket=tickets), summarise.map(ticket=tickets))
