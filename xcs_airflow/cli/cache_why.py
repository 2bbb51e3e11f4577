"""`xcs cache why-miss`: why a pipeline's operation would be asked again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from xcs_airflow.cli import stages
from xcs_airflow.cli.console import Command, format_option, show, show_json
from xcs_airflow.cli.given import pairs, parameters, runtime_settings, value_of
from xcs_airflow.errors import ConfigError

if TYPE_CHECKING:
    from xcs_airflow.manifest import Step
    from xcs_airflow.plan.cloud_graph import CloudGraph
    from xcs_airflow.runtime.cache.misses import Inquiry
    from xcs_airflow.runtime.models.provider import Message
    from xcs_airflow.runtime.question import Question
    from xcs_airflow.runtime.settings import RuntimeSettings

EXAMPLES = (
    "xcs cache why-miss pipeline.py:triage classify",
    "xcs cache why-miss pipeline.py:triage classify --run-id 20261122-103044-48f2 --item 17",
    'xcs cache why-miss pipeline.py:triage classify --input ticket="My invoice is wrong"',
)


@click.command("why-miss", cls=Command, examples=EXAMPLES)
@click.argument("pipeline")
@click.argument("operation")
@click.option("--input", "inputs", metavar="NAME=VALUE", multiple=True, callback=pairs, help="An input of one prompt: text, or JSON.")
@click.option("--run-id", metavar="NAME", help="Look at the prompts of this run, whose inputs are in the store.")
@click.option("--item", metavar="KEY", help="Of these, the one of this item.")
@click.option("-p", "--param", "texts", metavar="NAME=VALUE", multiple=True, callback=pairs, help="A parameter of that run: text, or JSON.")
@click.option("--store", metavar="PLACE", help="Folder or address of results.  [default: .xcs/store; env: XCS_STORE]")
@click.option("--cache", "place", metavar="PLACE", help="Where answers are.  [default: beside the store; env: XCS_CACHE]")
@click.option("--models", metavar="JSON|FILE", help="Where calls go, by provider or model.  [env: XCS_MODELS]")
@format_option
def why_miss(  # noqa: PLR0913  # one for each option
    pipeline: str,
    operation: str,
    *,
    inputs: Mapping[str, str],
    run_id: str | None,
    item: str | None,
    texts: Mapping[str, str],
    store: str | None,
    place: str | None,
    models: str | None,
    format: str,  # noqa: A002  # the option's name
) -> None:
    """Say why an operation of a pipeline would be asked again, and what changed since it was asked.

    Without inputs and without a run, it says how else the operation was asked and is remembered for. Routes count: give the same
    --models as to the run.
    """
    if inputs and run_id is not None:
        raise ConfigError.because("XCS805", name="--input", reason="give either inputs or a run")
    if item is not None and run_id is None:
        raise ConfigError.because("XCS805", name="--item", reason="items are those of a run: give --run-id")
    planned = stages.compile_pipeline(pipeline, None)
    settings = runtime_settings({"store": store, "cache": place, "code": planned.pipeline.root}, models)
    step = _step(planned.plan, operation)
    with stages.quiet_stdout():
        inquiry = _inquire(planned.plan, step, settings, _Asked(inputs, run_id, item, texts))
    if inquiry is None:
        if format == "json":
            show_json({"pipeline": planned.plan.name, "operation": operation, "is_remembered": False})
        else:
            show(f"{operation} is not remembered for other runs; xcs explain {pipeline} {operation} says why")
    elif format == "json":
        from dataclasses import asdict  # noqa: PLC0415

        show_json({"pipeline": planned.plan.name, "operation": operation, "is_remembered": True, **asdict(inquiry)})
    else:
        from xcs_airflow.cli.cache_tables import print_inquiry  # noqa: PLC0415

        show(print_inquiry(operation, inquiry))


class _Asked(NamedTuple):
    """Which prompts are meant: that of some inputs, those of a run, or none."""

    inputs: Mapping[str, str]
    run_id: str | None
    item: str | None
    texts: Mapping[str, str]


def _step(plan: CloudGraph, operation: str) -> Step:
    """An operation that asks a model, as the runtime runs it."""
    steps = {step.id: step for step in plan.manifest.steps() if step.call is not None}
    if operation not in steps:
        raise ConfigError.because("XCS806", name=operation, pipeline=plan.name, known=steps)
    return steps[operation]


def _inquire(plan: CloudGraph, step: Step, settings: RuntimeSettings, asked: _Asked) -> Inquiry | None:
    """What is known about the answers that are meant; None when the operation's are not remembered for other runs."""
    from xcs_airflow.runtime.cache.misses import inquire  # noqa: PLC0415
    from xcs_airflow.runtime.caches import shared_cache  # noqa: PLC0415
    from xcs_airflow.runtime.functions import code_on_path  # noqa: PLC0415
    from xcs_airflow.runtime.prompts import question_of  # noqa: PLC0415

    with code_on_path(settings.code):
        question = question_of(step, settings)
        if question.rule is None or question.recipe is None:
            return None
        prompts = dict(_prompts(plan, step, question, settings, asked))
    if asked.item is not None:
        if asked.item not in prompts:
            raise ConfigError.because("XCS805", name="--item", reason=f"there is no item {asked.item!r}", known=prompts)
        prompts = {asked.item: prompts[asked.item]}
    cache, messages = shared_cache(settings), list(prompts.values())
    keys = question.keys(messages, None) or []
    if question.is_packed:  # the answer to an item that was asked alone will do
        alone = question.keys_alone(messages, None) or []
        known = cache.get_many(alone)
        keys = [other if other in known else key for key, other in zip(keys, alone, strict=True)]
    return inquire(cache, question.recipe, dict(zip(prompts, keys, strict=True)), question.rule.ttl_s)


def _prompts(
    plan: CloudGraph, step: Step, question: Question, settings: RuntimeSettings, asked: _Asked
) -> Iterator[tuple[str, list[Message]]]:
    """The prompts that are meant, with their items' keys."""
    from xcs_airflow.runtime.prompts import prompts_of_run  # noqa: PLC0415

    if asked.run_id is None and not asked.inputs:
        return
    values = parameters(plan.parameters, asked.texts)
    if asked.run_id is not None:
        yield from prompts_of_run(plan.manifest, step, question, settings, asked.run_id, values)
    else:
        yield "", question.messages(_row(step, values, asked.inputs))


def _row(step: Step, values: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, Any]:
    """All inputs of one prompt: what was given, and what does not depend on other steps."""
    from xcs_airflow.values import references, resolve  # noqa: PLC0415

    for name in given:
        if name not in step.inputs:
            raise ConfigError.because("XCS805", name="--input", reason=f"{step.id} has no input {name!r}", known=step.inputs)
    row: dict[str, Any] = {name: value_of(text, {}) for name, text in given.items()}
    for name, value in step.inputs.items():
        if name in row:
            continue
        if any(references(value)):
            raise ConfigError.because("XCS805", name="--input", reason=f"{step.id} also needs {name!r}", known=step.inputs)
        row[name] = resolve(value, values, lambda _: None)
    return row
