"""Runs of a pipeline whose calls go through a batch API, a task at a time, with a clock that can be moved on."""

import json
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest

from xcs_airflow.errors import NotReadyError
from xcs_airflow.ir import BatchPolicy, CachePolicy, Graph, LLMMetadata, LLMOperation, Operation, PipelinePolicy, Prompt, Ref
from xcs_airflow.plan.lower import lower
from xcs_airflow.runtime import ModelRoute, RuntimeSettings, read_output, run_task, run_usage
from xcs_airflow.runtime.batches import polling, priming
from xcs_airflow.runtime.models import batch_client
from xcs_airflow.values import Constant, Hole, Message

MODELS = {"openai": "openai/gpt-4.1-mini", "anthropic": "anthropic/claude-haiku-4-5"}
LONG_AGO_S = 10_000
A_DAY_S = 86_400 + 3_700
_REMEMBERED = CachePolicy()

CODE = """
def load(items):
    return [f"ticket {index}" for index in range(items)]


def report(answers):
    return answers
"""


class Lab:
    """A pipeline that asks one question about some tickets, and a provider.

    Attributes:
        server: The provider.
        provider: Its name.
        items: How many tickets there are.
        settings: Where everything is.
        manifest: What is run.
        later_s: How much later it is than the clock says.
    """

    def __init__(self, server, provider, folder, monkeypatch, items=6):
        self.server = server
        self.provider = provider
        self.items = items
        self.later_s = 0.0
        (folder / "code").mkdir()
        (folder / "code" / "pipeline.py").write_text(CODE)
        routes = {name: ModelRoute(**route) for name, route in server.models(timeout_s=20).items()}
        self.settings = RuntimeSettings(store=folder / "store", code=folder / "code", models=routes)
        self.manifest = self.lowered()
        now = SimpleNamespace(time=lambda: time.time() + self.later_s)
        monkeypatch.setattr(polling, "time", now)
        monkeypatch.setattr(priming, "time", now)
        monkeypatch.setattr(batch_client, "backoff_s", lambda failed: 0.01)

    def lowered(self, *, budget_usd=None, shards=None, schema=None, cache=_REMEMBERED, code=None, prefix=None, **terms):
        """The manifest, with other terms for its batches than the provider's."""
        prompt = Prompt(messages=(Message(parts=("about ", Hole(input="x"))),))
        metadata = LLMMetadata(model=MODELS[self.provider], temperature=0, max_tokens=8)
        ask = LLMOperation(
            id="ask",
            prompt=prompt,
            inputs={"x": Ref(operation="load")},
            map_over=("x",),
            metadata=metadata,
            cache=cache,
            output_schema=schema,
            shards=shards,
            prefix=prefix,
            batch=BatchPolicy(group="ask", mechanism="provider_batch"),
        )
        load = Operation(id="load", func="pipeline:load", code=code, inputs={"items": Constant(constant=self.items)})
        report = Operation(id="report", func="pipeline:report", inputs={"answers": Ref(operation="ask")})
        policy = PipelinePolicy(budget_usd=budget_usd)
        manifest = lower(Graph([load, ask, report], name="p", output=Ref(operation="report"), policy=policy))
        tasks = [
            task
            if task.provider_batch is None
            else task.model_copy(update={"provider_batch": task.provider_batch.model_copy(update=terms)})
            for task in manifest.tasks
        ]
        return manifest.model_copy(update={"tasks": tuple(tasks)})

    @property
    def prompts(self):
        return [f"about ticket {index}" for index in range(self.items)]

    @property
    def once(self):
        """What every prompt is billed when nothing is paid twice."""
        return Counter(dict.fromkeys(self.prompts, 1))

    @property
    def answers(self):
        return [prompt.upper() for prompt in self.prompts]

    def task(self, name, *, run_id="run", shard=0):
        return run_task(self.manifest, name, run_id=run_id, shard=shard, settings=self.settings)

    def submit(self, **where):
        self.task("load", **{**where, "shard": 0})
        return self.task("ask.submit", **where)

    def poll(self, **where):
        """Whether everything was taken in."""
        try:
            self.task("ask.poll", **where)
        except NotReadyError as error:
            self.reason = error.findings[0].message
            return False
        return True

    def wait(self, most=20, step_s=0.0, **where):
        """Poll until everything was taken in; gives how often that took."""
        for polls in range(1, most + 1):
            if self.poll(**where):
                return polls
            self.later_s += step_s
        pytest.fail(f"not ready after {most} polls: {self.reason}")

    def collect(self, run_id="run"):
        for shard in range(self.manifest.task_by_id["ask"].shards):
            self.task("ask", run_id=run_id, shard=shard)
        self.task("report", run_id=run_id)
        return read_output(self.manifest, run_id=run_id, settings=self.settings)

    def run(self, step_s=0.0):
        self.submit()
        self.wait(step_s=step_s)
        return self.collect()

    def usage(self, run_id="run"):
        return run_usage(self.settings, "p", run_id).total

    def documents(self, kind, run_id="run"):
        """What is written down about batches, by their numbers."""
        found = (self.folder(run_id) / "batches").rglob(f"*.{kind}.json")
        return {path.name.partition(".")[0]: json.loads(path.read_text()) for path in sorted(found)}

    @property
    def outcomes(self):
        return [document["counts"] for document in self.documents("outcome").values()]

    def budget(self):
        """What is spent of the budget, and what is held for batches."""
        document = json.loads((self.folder() / "budget.json").read_text())
        return Decimal(document["spent_usd"]), document["held"]

    def folder(self, run_id="run"):
        return Path(self.settings.store) / "runs" / "p" / run_id
