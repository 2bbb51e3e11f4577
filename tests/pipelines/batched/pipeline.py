"""Calls that go through the batch APIs of two providers: what the goldens show of waiting for them."""

from xcs_airflow import llm, op, pipeline


@op(items=30_000)
def load(path: str = "tickets.jsonl") -> list[str]:
    return path.split()


classify = llm(
    "openai/gpt-4.1-mini",
    "Which team?\n\n{ticket}",
    max_tokens=8,
    mechanism="provider_batch",
    secrets={"OPENAI_API_KEY": "openai-api-key"},
)

greet = llm(
    "anthropic/claude-haiku-4-5",
    "Write a greeting in the style of {path}.",
    max_tokens=80,
    mechanism="provider_batch",
    secrets={"ANTHROPIC_API_KEY": "anthropic-api-key"},
)


judge = llm(  # long enough for a prompt cache: one request goes first
    "anthropic/claude-sonnet-4-5",
    "How urgent is this ticket, from 1 to 5?\n\n" + "5 is for whoever cannot work, 1 for whoever only wonders.\n" * 100 + "\n{ticket}",
    max_tokens=2,
    mechanism="provider_batch",
    secrets={"ANTHROPIC_API_KEY": "anthropic-api-key"},
)


@op
def report(teams: list[str], urgencies: list[str], greeting: str) -> str:
    return "\n".join([greeting, *map(" ".join, zip(teams, urgencies, strict=True))])


@pipeline(deadline="3d")
def batched(path: str = "tickets.jsonl") -> str:
    tickets = load(path)
    return report(classify.map(ticket=tickets), judge.map(ticket=tickets), greet(path))
