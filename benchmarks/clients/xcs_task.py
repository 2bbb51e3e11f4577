"""xcs-airflow, as a platform runs it: one task of a manifest with store, cache on disk, ledger and retries."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from workload import run

from xcs_airflow.manifest import CacheRule, Manifest, ModelCall, Step, Task
from xcs_airflow.runtime import ModelRoute, RuntimeSettings, read_output, run_task
from xcs_airflow.values import Constant, Hole, Message, Prompt, Ref


def ask_all(folder: Path, endpoint: str, prompts: Sequence[str], in_flight: int) -> Callable[[], Sequence[str]]:
    """Run the task; when it ends, its result is committed and survives a loss of power."""
    call = ModelCall(model="openai/stub", prompt=Prompt(messages=(Message(parts=(Hole(input="text"),)),)), temperature=0, max_tokens=16)
    texts = Constant(constant=list(prompts))
    step = Step(id="ask", call=call, inputs={"text": texts}, map_over=("text",), cache=CacheRule(), fingerprint="1")
    manifest = Manifest(
        pipeline="benchmark", graph_digest="", tasks=(Task(id="ask", steps=(step,), in_flight=in_flight),), output=Ref(operation="ask")
    )
    settings = RuntimeSettings(store=Path(tempfile.mkdtemp(dir=folder)) / "store", models={"openai": ModelRoute(endpoint=endpoint)})
    run_task(manifest, "ask", run_id="run", settings=settings)
    return lambda: read_output(manifest, run_id="run", settings=settings)


with tempfile.TemporaryDirectory() as name:
    run(partial(ask_all, Path(name)))
