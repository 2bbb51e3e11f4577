"""What a run is expected to do and to cost, in words.

It knows figures; it does not know where the words are put.
"""

from __future__ import annotations

from collections.abc import Mapping

from xcs_airflow.cost.figures import Figure, OperationEstimate
from xcs_airflow.plan.cloud_graph import CloudGraph, PlannedTask
from xcs_airflow.plan.text import cost_sentence
from xcs_exporters.airflow.holes import fill
from xcs_exporters.airflow.markdown_text import markdown


def dag_doc(plan: CloudGraph) -> list[str]:
    """The Markdown that Airflow shows for the DAG, as lines with their ends."""
    text = fill("dag_doc.md.j2", markdown, plan=plan, expected=run_sentence(plan))
    return text.splitlines(keepends=True)


def run_sentence(plan: CloudGraph) -> str:
    """What a run is expected to do and to cost."""
    totals = plan.totals
    if not totals.calls:
        return "A run makes no model calls."
    saved = f" instead of {totals.calls_before:,}" if totals.calls_before > totals.calls else ""
    return f"{_calls(totals.calls, totals.input_tokens, totals.output_tokens, saved)}. Cost: {cost_sentence(totals.cost_usd)}."


def task_doc(task: PlannedTask, estimates: Mapping[str, OperationEstimate]) -> str:
    """The Markdown that Airflow shows for a task, on one line.

    Args:
        task: The task.
        estimates: What each operation of the plan is expected to do.
    """
    if task.kind in ("submit", "poll", "probe"):
        return markdown(f"For {', '.join(task.operations)}. {task.description}")
    own = [estimates[name] for name in task.operations]
    calls = sum(estimate.calls for estimate in own)
    sentences = [f"Runs {', '.join(task.operations)}."]
    if calls:
        input_tokens = Figure.total(estimate.input_tokens for estimate in own)
        output_tokens = Figure.total(estimate.output_tokens for estimate in own)
        sentences.append(f"{_calls(calls, input_tokens, output_tokens)}, {cost_sentence(task.cost_usd)}.")
    return markdown(" ".join([*sentences, task.description]))


def _calls(calls: int, input_tokens: Figure, output_tokens: Figure, saved: str = "") -> str:
    noun = "model call" if calls == 1 else "model calls"
    return f"Expected: {calls:,} {noun}{saved}, {input_tokens.expected:,.0f} input and {output_tokens.expected:,.0f} output tokens"
