"""The workload of `optimizer.py`: tickets of which every fifth repeats another, and three questions about each, one after the other.

It knows the pipeline, as a graph; it does not know how its calls are made, or who answers them. All three prompts begin with the same
handbook of 1,000 tokens. Each says how long its answers should be, which whoever answers reads.
"""

from __future__ import annotations

from pathlib import Path

from xcs_airflow.ir import BatchPolicy, Graph, LLMMetadata, LLMOperation, Operation, PipelinePolicy, Ref
from xcs_airflow.ir.llm_ops import Mechanism
from xcs_airflow.values import Constant, Hole, Message, Prompt

NAME = "support"
MODEL = "openai/gpt-4.1-mini"
PREFIX_TOKENS = 1000
CHARACTERS = 4
EVERY = 5
"""One in so many tickets repeats the one before."""

STAGES = {"classify": 12, "draft": 140, "check": 25}
"""About how many tokens an answer has, for each question in its order."""

CODE = f"""
import hashlib


def load(count: int, day: int) -> list[str]:
    numbers = [index - 1 if index % {EVERY} == {EVERY} - 1 else index for index in range(count)]
    said = "my parcel came with a broken seal, and the invoice has too many parts"
    return [f"Ticket {{day}}-{{number:05}}: {{said}}, {{number % 89}} of them for another machine." for number in numbers]


def report(checks: list[str]) -> str:
    return hashlib.sha256("\\n".join(checks).encode()).hexdigest()
"""

_RULE = "Rule {number}: say what happens next and who does it, name a day, promise no money, and keep to what the ticket says. "
_WANTED = {
    "classify": "Say which team answers the ticket, and why",
    "draft": "Draft an answer to the ticket for the team",
    "check": "Check the draft against the rules",
}


def handbook() -> str:
    """What all prompts begin with."""
    length = PREFIX_TOKENS * CHARACTERS
    return "".join(_RULE.format(number=number) for number in range(1, length // len(_RULE) + 2))[:length]


def pipeline(
    items: int, day: int, policy: PipelinePolicy | None = None, *, pack: int = 1, ways: dict[str, BatchPolicy] | None = None
) -> Graph:
    """Load -> classify each -> draft each -> check each -> report.

    Args:
        items: How many tickets; how many of them are different is not declared.
        day: Tickets of different days are different.
        policy: What to optimise for.
        pack: How many items may be asked in one request.
        ways: How calls are made, by operation, where a pass has nothing to decide.
    """
    load = Operation(id="load", func="tickets:load", inputs={"count": Constant(constant=items), "day": Constant(constant=day)}, items=items)
    ticket, before = Ref(operation="load"), {}
    calls = []
    for name, tokens in STAGES.items():
        task = f"{handbook()}\n\n{_WANTED[name]}, in about {tokens} tokens.\n### Item\n"
        parts = [task, Hole(input="ticket"), *(part for key in before for part in (f"\n\n{key}: ", Hole(input=key)))]
        calls.append(
            LLMOperation(
                id=name,
                prompt=Prompt(messages=(Message(parts=tuple(parts)),)),
                inputs={"ticket": ticket, **before},
                map_over=("ticket", *before),
                metadata=LLMMetadata(model=MODEL, temperature=0, max_tokens=2 * tokens, max_pack=pack),
                batch=None if ways is None else ways[name],
            )
        )
        before = {name: Ref(operation=name)}
    report = Operation(id="report", func="tickets:report", inputs={"checks": Ref(operation=calls[-1].id)})
    return Graph([load, *calls, report], name=NAME, output=Ref(operation="report"), policy=policy or PipelinePolicy())


def all_made(mechanism: Mechanism, *, in_flight: int, pack: int) -> dict[str, BatchPolicy]:
    """The same way for the calls of every stage."""
    size = pack if mechanism == "packed" else 1
    many = 1 if mechanism == "provider_batch" else in_flight
    return {name: BatchPolicy(group=name, mechanism=mechanism, in_flight=many, pack_size=size) for name in STAGES}


def write_code(folder: Path) -> None:
    """Put the module of the plain functions into a folder."""
    (folder / "tickets.py").write_text(CODE)
