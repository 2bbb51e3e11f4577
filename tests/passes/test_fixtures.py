"""What every pass does to a graph, as text before and after, and that it still means the same."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from xcs_airflow.cost.simulation import RateLimit
from xcs_airflow.ir import Graph, print_graph, verify
from xcs_airflow.passes import PASSES, Pass, PassContext, Verify, run_passes

from . import cases_groups, cases_machines, cases_results, cases_ways
from .toys import run

LIMITS_OF = {
    "limited_by_requests": {"openai": RateLimit(requests_per_minute=240)},
    "spread_within_limits": {"openai": RateLimit(requests_per_minute=2400)},
}
FOLDER = Path(__file__).parent / "fixtures"
NAMES = (
    *("prune", "deduplicate", "insert_cache", "batch_prompts", "mark_prefixes"),
    *("place_on_hardware", "fuse_small_tasks", "probe_before_start", "schedule"),
)
PASSES_OF = {
    **{name: (pass_,) for name, pass_ in zip(NAMES, PASSES, strict=True)},
    "all": PASSES,
}
MAKERS = {
    name: maker
    for module in (cases_results, cases_groups, cases_machines, cases_ways)
    for name, maker in vars(module).items()
    if getattr(maker, "__module__", None) == module.__name__
}
"""What makes the graph of a case, by its name."""


class Case(NamedTuple):
    """One case of a fixture file: `# title`, `graph: name` of a maker in MAKERS, perhaps `target: name`, and the texts it must give."""

    title: str
    passes: tuple[Pass, ...]
    make: str
    target: str | None
    before: str
    after: str
    decisions: str


def read_cases() -> list[Case]:
    found = []
    for path in sorted(FOLDER.glob("*.txt")):
        for block in path.read_text().split("\n=====\n"):
            head, before, after, decisions = (part.strip("\n") for part in block.split("\n-----\n"))
            title, *lines = head.strip().splitlines()
            facts = dict(line.split(": ") for line in lines)
            made = (facts["graph"], facts.get("target"))
            found.append(Case(title.removeprefix("# "), PASSES_OF[path.stem], *made, before, after, decisions))
    return found


def said(graph: Graph) -> str:
    return "\n".join(f"{decision.action} %{decision.operation}: {decision.reason}" for decision in graph.decisions) or "nothing"


@pytest.mark.parametrize("case", read_cases(), ids=lambda case: case.title)
def test_the_pass_does_what_the_fixture_says(case):
    graph: Graph = MAKERS[case.make]()
    context = PassContext(target=case.target, limits=LIMITS_OF.get(case.make, {}))
    result = run_passes(graph, case.passes, context, observers=[Verify()])
    assert print_graph(graph) == case.before
    assert (print_graph(result) if result != graph.replace(decisions=result.decisions) else "the same") == case.after
    assert said(result) == case.decisions
    assert context.findings == []
    assert verify(result) == []
    assert run(result).output == run(graph).output
    assert run(result).model_calls <= run(graph).model_calls
    old, new = context.estimate(graph).whole, context.estimate(result).whole
    assert new.calls <= old.calls
    assert new.cost_usd.expected <= old.cost_usd.expected
    is_traded = sum(decision.saves_usd or 0 for decision in result.decisions) > 0  # time for money, which the decisions say
    assert new.duration_s.expected <= old.duration_s.expected or is_traded


def test_every_case_is_used():
    assert {case.make for case in read_cases()} == MAKERS.keys()
