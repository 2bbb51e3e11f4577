"""Running a workload and measuring it: requests, tokens, money and seconds of every stage, beside what had been expected.

It knows graphs, plans and books; it does not know which plans are worth running.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from pathlib import Path

from model_servers import Models
from workloads.support import NAME, STAGES, write_code

from xcs_airflow.cost.profile import OperationRun, PipelineProfile, RunProfile
from xcs_airflow.ir import Graph
from xcs_airflow.jit.executor import LLMOptimizedExecutor
from xcs_airflow.manifest import Manifest, Task
from xcs_airflow.passes import CacheInsertionPass, Deduplicate, MarkPrefixes, PromptBatchingPass, Prune
from xcs_airflow.passes.enhancer import LLMGraphEnhancer
from xcs_airflow.plan.cloud_export import CloudExporter
from xcs_airflow.plan.cloud_graph import CloudGraph
from xcs_airflow.plan.lower import lower
from xcs_airflow.runtime import ModelRoute, RuntimeSettings
from xcs_airflow.runtime.measuring import measured_operations
from xcs_airflow.runtime.pricing import price_of
from xcs_airflow.runtime.runs import Run
from xcs_airflow.runtime.store import open_store

_NUMBERS = count(1)


@dataclass(frozen=True)
class Part:
    """Tokens, money and time of a run, or of one of its stages.

    Attributes:
        calls: Requests.
        tokens: Of input and output together.
        usd: What they cost.
        seconds: From the end of what came before to its own.
    """

    calls: float
    tokens: float
    usd: float
    seconds: float


@dataclass(frozen=True)
class Measured:
    """What a run did.

    Attributes:
        whole: All of it, from its start to its end.
        stages: Each of its questions.
        requests: How many requests the servers saw.
        report: What the pipeline made of all answers.
        operations: What a profile takes from it.
    """

    whole: Part
    stages: dict[str, Part]
    requests: int
    report: str
    operations: dict[str, OperationRun]


def planned(graph: Graph, in_flight: int, profile: PipelineProfile | None) -> CloudGraph:
    """The plan that the passes about calls make of a graph. Every question stays a task of its own, so that its time can be measured."""
    passes = (Prune(), Deduplicate(), CacheInsertionPass(), PromptBatchingPass(max_in_flight=in_flight), MarkPrefixes())
    enhanced = LLMGraphEnhancer(passes=passes, profile=profile).enhance(graph)
    return CloudExporter(profile=profile).export(enhanced)


def expected(plan: CloudGraph) -> Part:
    """What a plan expects of its run."""
    totals = plan.totals
    tokens = totals.input_tokens.expected + totals.output_tokens.expected
    return Part(totals.calls, tokens, float(totals.cost_usd.expected), totals.duration_s.expected)


def run(plan: CloudGraph, models: Models) -> Measured:
    """Run a plan with nothing remembered."""
    return _run(plan.manifest, models)


def run_one_by_one(graph: Graph, models: Models) -> Measured:
    """Run a graph as it is written: no pass, no cache, every request after the answer to the one before."""
    return _run(lower(graph), models, cache="off")


def _run(manifest: Manifest, models: Models, cache: str | None = None) -> Measured:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_code(folder)
        settings = RuntimeSettings(store=folder / "store", cache=cache, models={"openai": ModelRoute(endpoint=models.address)}, code=folder)
        run_id = f"run-{next(_NUMBERS)}"
        ends: dict[str, float] = {}

        def note(task: Task, *_: object) -> None:
            """When what a task is about came to its end; of the tasks of a batch the last one counts."""
            owner = manifest.task_by_id[task.part_of or task.id]
            ends.update({step.id: time.perf_counter() for step in owner.steps})

        models.requests()
        began = time.perf_counter()
        made = LLMOptimizedExecutor(manifest, settings, note).run(run_id)
        took_s = time.perf_counter() - began
        requests = models.requests()
        operations, used = measured_operations(open_store(settings.store), price_of(None), Run.named(NAME, run_id))
    usd = {name: sum((usage.billed_cost_usd for usage in used.operations if usage.operation == name), Decimal(0)) for name in STAGES}
    stages: dict[str, Part] = {}
    before = ends["load"]
    for name in STAGES:
        did = operations[name]
        tokens = did.input_tokens.total + did.output_tokens.total
        stages[name] = Part(did.calls + did.discarded, tokens, float(usd[name]), ends[name] - before)
        before = ends[name]
    return Measured(_total(stages.values(), took_s), stages, requests, str(made), operations)


def _total(parts: Collection[Part], seconds: float) -> Part:
    return Part(sum(part.calls for part in parts), sum(part.tokens for part in parts), sum(part.usd for part in parts), seconds)


def profile_of(runs: list[Measured]) -> PipelineProfile:
    """What runs measured, as the next plan takes it."""
    told = [
        RunProfile(
            run_id=str(number),
            ended=datetime.fromtimestamp(number, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            seconds=round(measured.whole.seconds, 3),
            operations=measured.operations,
        )
        for number, measured in enumerate(runs)
    ]
    return PipelineProfile(runs=tuple(told))
