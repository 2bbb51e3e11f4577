"""Calls of a local model on GPUs, which are not started when all answers are known: what the goldens show of probes."""

from xcs_airflow import llm, op, pipeline


@op(items=5_000)
def load(path: str = "tickets.jsonl") -> list[str]:
    return path.split()


classify = llm(
    "local/qwen2.5-7b-instruct",
    "Which team?\n\n{ticket}",
    temperature=0,
    max_tokens=8,
    cpu=4,
    memory_mib=16_384,
    gpu=1,
    gpu_type="nvidia-l4",
)

greet = llm(
    "local/qwen2.5-7b-instruct",
    "Write a greeting in the style of {path}.",
    temperature=0.7,
    max_tokens=80,
    cpu=4,
    memory_mib=16_384,
    gpu=1,
    gpu_type="nvidia-l4",
)


@op
def report(teams: list[str], greeting: str) -> str:
    return "\n".join([greeting, *teams])


@pipeline
def probed(path: str = "tickets.jsonl") -> str:
    return report(classify.map(ticket=load(path)), greet(path))
