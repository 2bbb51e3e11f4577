"""The prompts that a step asks in a run, written again from what the run left in the store.

It knows manifests, runs and steps; it asks nobody.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from xcs_airflow.manifest import Manifest, Step
from xcs_airflow.runtime.models.provider import Message
from xcs_airflow.runtime.parameters import complete
from xcs_airflow.runtime.question import Question
from xcs_airflow.runtime.results import Results
from xcs_airflow.runtime.settings import RuntimeSettings
from xcs_airflow.runtime.steps import StepRunner
from xcs_airflow.runtime.store import open_store


def question_of(step: Step, settings: RuntimeSettings) -> Question:
    """What a step asks, whoever runs it.

    Args:
        step: One that asks a model.
        settings: Where models are.
    """
    if step.call is None:
        message = f"{step.id} asks no model"
        raise ValueError(message)
    return Question(step.id, step.call, step.cache, settings, step.attempts, is_step=True, varies=step.map_over)


def prompts_of_run(
    manifest: Manifest, step: Step, question: Question, settings: RuntimeSettings, run_id: str, parameters: Mapping[str, Any]
) -> Iterator[tuple[str, list[Message]]]:
    """The messages for every item of a step, with the item's key, shard by shard.

    Args:
        manifest: Of the pipeline.
        step: Whose prompts.
        question: What it asks.
        settings: Where the store is.
        run_id: The run, in which everything the step reads is finished.
        parameters: Those of the run that differ from the defaults.

    Raises:
        RuntimeTaskError: What the step reads is not in the store (XCS602), or parameters are missing (XCS607).
    """
    values = complete(manifest.parameters, parameters)
    results = Results(open_store(settings.store), manifest, run_id, values)
    task = manifest.task_of_step[step.id]
    for shard in range(task.shards if step.map_over else 1):
        yield from StepRunner(task, shard, values, results, settings, _nobody).prompts(step, question)


def _nobody() -> NoReturn:
    message = "prompts are written without a session"
    raise AssertionError(message)
