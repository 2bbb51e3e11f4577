"""Ways to run whole pipelines, and what they should give."""

import json

from xcs_airflow.ir import LLMMetadata, LLMOperation, Prompt
from xcs_airflow.ir.executor import evaluate
from xcs_airflow.runtime import run_task
from xcs_airflow.runtime.functions import Function, code_on_path
from xcs_airflow.values import Hole, Message


def run_all(manifest, settings, run_id="run", parameters=None):
    """Every shard of every task, as a platform would."""
    return [
        run_task(manifest, task.id, run_id=run_id, shard=shard, parameters=parameters, settings=settings)
        for task in manifest.tasks
        for shard in range(task.shards)
    ]


def reference(graph, settings, parameters=None):
    """What the graph means, as JSON."""

    def find(address):
        function = Function(address)
        return lambda **inputs: as_json(function(inputs))

    with code_on_path(settings.code):
        result = evaluate(graph, parameters, ask_model=lambda _, messages: messages[-1]["content"].upper(), find=find)
    return json.loads(json.dumps(result))


def as_json(result):
    return list(result) if hasattr(result, "__next__") else result


def asking(name, source, *, over=("x",), text="about ", **fields):
    prompt = Prompt(messages=(Message(parts=(text, Hole(input="x"))),))
    metadata = LLMMetadata(model="openai/gpt-4.1-mini", temperature=0)
    return LLMOperation(id=name, prompt=prompt, inputs={"x": source}, map_over=over, metadata=metadata, **fields)
