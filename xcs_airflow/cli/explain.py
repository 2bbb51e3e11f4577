"""`xcs explain`: one operation of a pipeline, or one error code, in prose."""

from __future__ import annotations

import re
import string
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from xcs_airflow.cli import stages
from xcs_airflow.cli.console import Command, format_option, prices_option, profile_option, show, show_json, target_option
from xcs_airflow.errors import CODES, ConfigError

if TYPE_CHECKING:
    from xcs_airflow.cost.figures import Figure
    from xcs_airflow.ir.graph import Decision
    from xcs_airflow.plan.cloud_graph import CloudGraph, PlannedOperation

_CODE = re.compile(r"XCS\d+", re.IGNORECASE)
_FAMILIES = {
    "1": "writing pipelines and tracing them",
    "2": "graphs",
    "3": "passes",
    "4": "plans and their cost",
    "5": "exporters and bundles",
    "6": "tasks that run",
    "7": "calls to models",
    "8": "configuration and the command line",
}
_STANDS_FOR = {
    "instead": "the message says it, because it depends on the case",
    "known_list": "the names that exist",
    "nearest": "the message names the nearest that exists",
}
_SAID_BY = {
    "declared": "declared by the author",
    "template": "from the text of the prompt",
    "assumed": "assumed",
    "profile": "measured in earlier runs",
    "prices": "from the price table",
    "derived": "derived from other figures",
}

EXAMPLES = (
    "xcs explain pipeline.py:triage classify",
    "xcs explain pipeline.py:triage",
    "xcs explain XCS203",
)


@click.command("explain", cls=Command, examples=EXAMPLES)
@click.argument("subject", metavar="PIPELINE|CODE", required=False)
@click.argument("operation", required=False)
@target_option
@prices_option
@profile_option
@format_option
def explain(
    subject: str | None,
    operation: str | None,
    target: str | None,
    prices: str | None,
    profile: str | None,
    format: str,  # noqa: A002  # the option's name
) -> None:
    """Say why an operation is planned as it is, or what an error code means.

    Without an OPERATION, every operation of the pipeline is explained.
    """
    if subject is not None and _CODE.fullmatch(subject):
        facts = explain_code(subject.upper())
        if format == "json":
            show_json(facts)
        else:
            show(_in_prose(facts))
        return
    settings = stages.settings_here()
    spec = stages.the_one_spec(subject, settings)
    place = stages.profile_place(profile, settings)
    plan = stages.compile_pipeline(spec, prices or settings.prices, place, target=stages.known_target(target), limits=settings.limits).plan
    chosen = _chosen(plan, operation)
    if format == "json":
        show_json({"pipeline": plan.name, "operations": [_as_json(plan, item) for item in chosen]})
    else:
        show("\n\n".join(explain_operation(plan, item) for item in chosen))


def explain_code(code: str) -> dict[str, str]:
    """What an error code stands for.

    Raises:
        ConfigError: There is no such code.
    """
    if code not in CODES:
        raise ConfigError.because("XCS807", name=code, known=CODES)
    row = CODES[code]
    return {"code": code, "family": _FAMILIES[code[3]], "message": _as_pattern(row.message), "hint": _as_pattern(row.hint)}


def explain_operation(plan: CloudGraph, operation: PlannedOperation) -> str:
    """One operation of a plan in prose."""
    from xcs_airflow.plan.text import printable  # noqa: PLC0415

    place = f"  ({printable(operation.source)})" if operation.source else ""
    paragraphs = [_what(plan, operation), *_figures(operation), *_measured(plan, operation), *_decisions(plan, operation)]
    body = "\n".join(textwrap.fill(text, 100, initial_indent="  ", subsequent_indent="    ") for text in paragraphs)
    return f"%{operation.id}{place}\n{body}"


def _in_prose(facts: dict[str, str]) -> str:
    hint = f"What to do: {facts['hint']}\n" if facts["hint"] else ""
    return f"{facts['code']}: {facts['message']}\n{hint}It is one of the codes about {facts['family']}; docs/errors.md explains it."


def _as_pattern(text: str) -> str:
    """A format string with its facts as words."""
    parts = string.Formatter().parse(text)
    return "".join(literal + (_STANDS_FOR.get(field, field.upper()) if field else "") for literal, field, _, _ in parts)


def _chosen(plan: CloudGraph, name: str | None) -> list[PlannedOperation]:
    if name is None:
        return list(plan.operations)
    chosen = [operation for operation in plan.operations if operation.id == name.removeprefix("%")]
    if not chosen:
        raise ConfigError.because("XCS806", name=name, pipeline=plan.name, known=[operation.id for operation in plan.operations])
    return chosen


def _what(plan: CloudGraph, operation: PlannedOperation) -> str:
    from xcs_airflow.plan.text import printable  # noqa: PLC0415

    task = next(task for task in plan.tasks if task.id == operation.task)
    others = [f"%{name}" for name in task.operations if name != operation.id]
    does = f"asks {printable(operation.model)}" if operation.model else "runs a function"
    items = f"{operation.estimate.items:,} items" if operation.estimate.items is not None else "item"
    often = f" once for each {'of ' if operation.estimate.items is not None else ''}{items}" if operation.is_mapped else ""
    needs = f", after {', '.join(f'%{name}' for name in operation.needs)}" if operation.needs else ""
    company = f" with {', '.join(others)}" if others else ""
    shards = f", spread over {task.shards} shards" if task.shards > 1 else ""
    flight = f", {task.in_flight} calls in flight" if task.in_flight > 1 else ""
    probe = plan.probe_of.get(task.id)
    probed = "" if probe is None else f", which is started only if {probe.id} finds an answer missing"
    return f"It {does}{often}{needs}. It is part of the task {task.id}{company}{shards}{flight}{probed}."


def _figures(operation: PlannedOperation) -> Iterator[str]:
    from xcs_airflow.plan.text import change, cost_sentence, duration_range  # noqa: PLC0415

    entry = operation.estimate
    if operation.kind == "llm":
        yield f"calls: {change(entry.calls_before, entry.calls)}{', answers are remembered' if operation.is_cached else ''}"
        yield f"tokens in: {_range(entry.input_tokens)}"
        yield f"tokens out: {_range(entry.output_tokens)}"
        yield f"cost: {cost_sentence(entry.cost_usd)}"
    one = "one call" if operation.kind == "llm" else "one run"
    yield f"time: {duration_range(entry.call_latency_s)} for {one}{_said(entry.call_latency_s)}; {duration_range(entry.duration_s)} in all"


def _measured(plan: CloudGraph, operation: PlannedOperation) -> Iterator[str]:
    from xcs_airflow.plan.accuracy_text import measured_sentences  # noqa: PLC0415

    for known in () if plan.profile is None else plan.profile.operations:
        if known.operation == operation.id:
            yield from measured_sentences(known)


def _range(figure: Figure) -> str:
    if figure.low == figure.high:
        return f"{figure.expected:,.0f}{_said(figure)}"
    return f"{figure.expected:,.0f} ({figure.low:,.0f} to {figure.high:,.0f}){_said(figure)}"


def _said(figure: Figure) -> str:
    return f", {_SAID_BY[figure.source]}" if figure.source in _SAID_BY else ""


def _decisions(plan: CloudGraph, operation: PlannedOperation) -> Iterator[str]:
    from xcs_airflow.plan.text import printable, savings  # noqa: PLC0415

    for decision in _about(plan, operation):
        rule = f" (rule: {decision.rule})" if decision.rule else ""
        yield printable(f"{decision.pass_name} {decision.action}: {decision.reason}{savings([decision])}{rule}")


def _about(plan: CloudGraph, operation: PlannedOperation) -> list[Decision]:
    return [decision for decision in plan.decisions if decision.operation == operation.id]


def _as_json(plan: CloudGraph, operation: PlannedOperation) -> dict[str, object]:
    from pydantic import TypeAdapter  # noqa: PLC0415

    from xcs_airflow.ir.graph import Decision  # noqa: PLC0415

    task = next(task for task in plan.tasks if task.id == operation.task)
    return {
        "operation": operation.model_dump(mode="json"),
        "task": task.model_dump(mode="json"),
        "decisions": TypeAdapter(list[Decision]).dump_python(_about(plan, operation), mode="json"),
    }
