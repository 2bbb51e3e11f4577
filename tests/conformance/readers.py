"""Reads back what every exporter wrote: which tasks are started, how often, in which order, and with which variables.

A reader knows one platform's files and none of the code that wrote them.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from xcs_airflow.exporting.bundle import Bundle

Pairs = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Emitted:
    """What a platform will do.

    Attributes:
        starts: Task id and number of shards, once for every time a task is started.
        before: Pairs of tasks: the first has ended when the second begins.
        variables: Task id to its plain variables.
    """

    starts: list[tuple[str, int]]
    before: Pairs
    variables: dict[str, dict[str, str]] = field(default_factory=dict)


def closure(edges: Iterable[tuple[str, str]]) -> Pairs:
    """Every pair that follows from these."""
    after: dict[str, set[str]] = {}
    for first, second in edges:
        after.setdefault(first, set()).add(second)

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            for name in after.get(waiting.pop(), ()):
                if name not in seen:
                    seen.add(name)
                    waiting.append(name)
        return seen

    return frozenset((first, second) for first in after for second in reached(first))


def read_airflow(bundle: Bundle) -> Emitted:
    """From the DAG file's syntax tree; real Airflow reads it in tests/real."""
    (path,) = [path for path in bundle.files if path.endswith(".py")]
    tree = ast.parse(bundle.text(path))
    starts, variables, names, edges = [], {}, {}, []
    for node in ast.walk(tree):
        is_task = isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
        if is_task and re.match("(Run|Poll|Probe)Task", ast.unparse(node.value.func)):
            call, shards = node.value, 1
            if isinstance(call.func, ast.Attribute) and call.func.attr == "expand":
                shards = len(_evaluate(_keywords(call)["shard"]))
                call = call.func.value
            options = _keywords(call)
            task = ast.literal_eval(options["task_id"])
            names[ast.unparse(node.targets[0])] = task
            starts.append((task, shards))
            variables[task] = ast.literal_eval(options["env"]) if "env" in options else {}
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.BinOp) and isinstance(node.value.op, ast.RShift):
            edges += [(one, other) for one in _each(node.value.left) for other in _each(node.value.right)]
    return Emitted(starts, closure((names[one], names[other]) for one, other in edges), variables)


def _keywords(call: ast.Call) -> dict[str, ast.expr]:
    return {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}


def _evaluate(node: ast.expr) -> list[int]:
    match = re.fullmatch(r"list\(range\((\d+)\)\)", ast.unparse(node))
    return list(range(int(match[1]))) if match else ast.literal_eval(node)


def _each(node: ast.expr) -> list[str]:
    return [ast.unparse(element) for element in node.elts] if isinstance(node, ast.List) else [ast.unparse(node)]


def read_aws_batch(bundle: Bundle) -> Emitted:
    """From the state machine and the job definitions its states submit."""
    definitions = {path: json.loads(content) for path, content in bundle.files.items() if path.startswith("job-definitions/")}
    starts, variables = [], {}
    machine = json.loads(bundle.files["state-machine.asl.json"])
    for state in _submissions(machine):
        task, mark = state["Parameters"]["task"], state["JobDefinition"].removeprefix("${JobDefinition").removesuffix("}")
        (definition,) = [document for path, document in definitions.items() if path.endswith(f"{mark}.json")]
        starts.append((task, state.get("ArrayProperties", {}).get("Size", 1)))
        entries = definition["containerProperties"]["environment"]
        variables[task] = {entry["name"]: re.sub(r"\$\{!([^}]*)\}", r"${\1}", entry["value"]) for entry in entries}
    return Emitted(starts, frozenset(_chained(machine)), variables)


def _submissions(machine: dict) -> Iterator[dict]:
    is_loop = machine.get("States", {}).get(machine.get("StartAt"), {}).get("Type") == "Pass"
    asked_again = [state for state in machine["States"].values() if "Catch" in state]  # the same job stands in a loop twice
    for state in asked_again if is_loop else machine["States"].values():
        if state["Type"] == "Task":
            yield state["Parameters"]
        for branch in state.get("Branches", []):
            yield from _submissions(branch)


def _chained(machine: dict) -> Iterator[tuple[str, str]]:
    """All pairs of a chain of states, and of the chains inside them."""
    done: list[str] = []
    name = machine["StartAt"] if machine["States"] else None
    while name is not None:
        state = machine["States"][name]
        inner = [inner["task"] for inner in (part["Parameters"] for part in _submissions({"States": {name: state}}))]
        yield from ((first, second) for first in done for second in inner)
        for branch in state.get("Branches", []):
            yield from _chained(branch)
        done += inner
        name = state.get("Next") or next((way["Next"] for way in state.get("Catch", ()) if _runs_a_job(machine, way["Next"])), None)


def _runs_a_job(machine: dict, name: str) -> bool:
    """Whether a failure leads to another job, as that of a probe does, and not into a loop."""
    return machine["States"][name]["Type"] == "Task"


def read_cloud_run(bundle: Bundle) -> Emitted:
    """From the workflow and the jobs its levels run."""
    jobs = {path: json.loads(content) for path, content in bundle.files.items() if path.startswith("jobs/")}
    starts, before, variables, done = [], set(), {}, []
    steps = json.loads(bundle.files["workflow.json"])["main"]["steps"]
    probes = next((entry["probes"] for entry in steps[0]["begin"]["assign"] if "probes" in entry), {})
    for step in steps:
        ((_, body),) = step.items()
        level = []
        named = body["parallel"]["for"]["in"] if "parallel" in body else [body["args"]["job"]] if "call" in body else []
        for name in [job for own in named for job in (*([probes[own]] if own in probes else []), own)]:
            template = jobs[f"jobs/{name}.json"]["template"]
            (container,) = template["template"]["containers"]
            task = container["command"][container["command"].index("--task") + 1]
            level.append(task)
            starts.append((task, template["taskCount"]))
            variables[task] = {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}
            if name in probes:
                before.add((level[-2], task))
        before |= {(first, second) for first in done for second in level}
        done += level
    return Emitted(starts, frozenset(before), variables)


READERS = {"airflow": read_airflow, "aws-batch": read_aws_batch, "cloud-run": read_cloud_run}
