"""Rules about one Cloud Run job: each test tells what in a job's file the platform would refuse.

It knows the file as JSON, however broken; it does not know plans.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from xcs_airflow.ir.operation import Resources
from xcs_exporters.cloud_run.environment import name_problem, problem_of
from xcs_exporters.cloud_run.limits import Size, gpu_types, is_size, limit, smallest_size

Job = dict[str, Any]
Reasons = Iterator[str]

_NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_SECONDS = re.compile(r"([1-9][0-9]*)s")
_MEMORY = re.compile(r"([1-9][0-9]*)Mi")
_LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
_THEIR_SPACES = re.compile(r"([a-z0-9-]+\.)*(run\.googleapis\.com|cloud\.googleapis\.com|knative\.dev)/")
_KEY_LIKE = re.compile(r"\b(sk-[\w-]{20,}|AKIA[0-9A-Z]{16}|AIza[\w-]{35}|gh[pousr]_\w{36,})|-----BEGIN [A-Z ]*PRIVATE KEY")


def name_of(path: str) -> str:
    """The name of the job that a file describes."""
    return PurePosixPath(path).stem


def task_count(job: Job) -> object:
    """How often an execution starts the container."""
    return _map(job, "template").get("taskCount", 1)


def task_of(job: Job) -> str:
    """The id of the task it runs; empty where that cannot be told."""
    words = _container(job).get("command")
    words = words if isinstance(words, list) else []
    return str(words[words.index("--task") + 1]) if "--task" in words[:-1] else ""


def is_tried_once(job: Job) -> bool:
    """Whether one task is started once, so that its exit code is that of the execution."""
    return task_count(job) == 1 and _map(job, "template", "template").get("maxRetries") == 0


def name(path: str, _job: Job) -> Reasons:
    """The name follows RFC 1035."""
    if not _NAME.fullmatch(name_of(path)):
        yield f"the name {name_of(path)!r} is not allowed"


def container(_path: str, job: Job) -> Reasons:
    """There is one container, started by lists of words."""
    containers = _map(job, "template", "template").get("containers")
    if not isinstance(containers, list) or len(containers) != 1:
        yield "it does not have exactly one container"
    first = _container(job)
    if not isinstance(first.get("image"), str) or not first["image"]:
        yield "its container has no image"
    words = first.get("command")
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        yield "its command is not a list of words"


def tasks(_path: str, job: Job) -> Reasons:
    """The number of tasks is within the limit."""
    count = task_count(job)
    if not isinstance(count, int) or not 1 <= count <= limit("tasks_per_execution"):
        yield f"taskCount is {count!r}"


def retries(_path: str, job: Job) -> Reasons:
    """Retries are written out: left out, the platform would take 3."""
    count = _map(job, "template", "template").get("maxRetries")
    if not isinstance(count, int) or not 0 <= count <= limit("retries"):
        yield f"maxRetries is {count!r}"


def timeout(_path: str, job: Job) -> Reasons:
    """The time limit is written out: left out, the platform would take ten minutes."""
    text = _map(job, "template", "template").get("timeout")
    match = _SECONDS.fullmatch(text) if isinstance(text, str) else None
    if match is None or int(match[1]) > limit("timeout_s"):
        yield f"timeout is {text!r}"


def size(_path: str, job: Job) -> Reasons:
    """CPU and memory are a pair that the platform has."""
    cpu, memory_mib = _size(job)
    if cpu is None or memory_mib is None or not is_size(Size(cpu, memory_mib)):
        yield f"{cpu} CPU with {memory_mib} MiB"


def gpu(_path: str, job: Job) -> Reasons:
    """A GPU has a type, enough CPU and memory around it, and a time limit of its own."""
    template, count = _map(job, "template", "template"), _limits(job).get("nvidia.com/gpu")
    kind = _map(template, "nodeSelector").get("accelerator")
    if count is None and kind is None:
        return
    if count != "1" or kind not in gpu_types():
        yield f"{count} of {kind!r}"
        return
    cpu, memory_mib = _size(job)
    least = smallest_size(Resources(gpu=1, gpu_type=kind))
    if cpu is None or memory_mib is None or least is None or cpu < least.cpu or memory_mib < least.memory_mib:
        yield f"{kind} with {cpu} CPU and {memory_mib} MiB"
    if _seconds(template) > limit("gpu_timeout_s"):
        yield f"{kind} with a timeout of {template.get('timeout')}"
    if template.get("gpuZonalRedundancyDisabled") is not True:
        yield f"{kind} with zonal redundancy"


def environment(_path: str, job: Job) -> Reasons:
    """Every variable has a legal name of its own, and either a legal value or a secret."""
    entries = _environment(job)
    for name, count in Counter(str(entry.get("name")) for entry in entries).items():
        if count > 1:
            yield f"{name} stands {count} times"
    for entry in entries:
        name, value = str(entry.get("name")), entry.get("value")
        secret = _map(entry, "valueSource", "secretKeyRef")
        if (value is None) == (not secret):
            yield f"{name} has not exactly one of a value and a secret"
        elif problem := name_problem(name) if secret else problem_of(name, str(value)):
            yield f"{name}: {problem}"


def keys(_path: str, job: Job) -> Reasons:
    """Nothing that looks like a key stands in the file in plain text."""
    for entry in _environment(job):
        if _KEY_LIKE.search(str(entry.get("value", ""))):
            yield f"the value of {entry.get('name')} looks like a key"


def labels(_path: str, job: Job) -> Reasons:
    """Labels have the form that billing and search accept."""
    pairs = _map(job, "labels")
    if len(pairs) > limit("labels"):
        yield f"there are {len(pairs)} labels"
    for key, value in pairs.items():
        if not _LABEL_KEY.fullmatch(key) or not _LABEL_VALUE.fullmatch(str(value)):
            yield f"the label {key!r}: {value!r}"


def annotation_keys(_path: str, job: Job) -> Reasons:
    """Annotations are ours: version 2 refuses those of the platform's own name spaces."""
    for key in [*_map(job, "annotations"), *_map(job, "labels")]:
        if _THEIR_SPACES.match(key):
            yield f"{key!r} belongs to the platform"


def _map(document: Any, *path: str) -> dict[str, Any]:
    """The object at a path; an empty one where there is none."""
    for key in path:
        document = document.get(key) if isinstance(document, dict) else None
    return document if isinstance(document, dict) else {}


def _container(job: Job) -> dict[str, Any]:
    containers = _map(job, "template", "template").get("containers")
    return containers[0] if isinstance(containers, list) and containers and isinstance(containers[0], dict) else {}


def _environment(job: Job) -> list[dict[str, Any]]:
    entries = _container(job).get("env")
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _limits(job: Job) -> dict[str, Any]:
    return _map(_container(job), "resources", "limits")


def _size(job: Job) -> tuple[int | None, int | None]:
    cpu, memory = str(_limits(job).get("cpu")), _MEMORY.fullmatch(str(_limits(job).get("memory")))
    return int(cpu) if cpu.isdecimal() else None, int(memory[1]) if memory else None


def _seconds(template: dict[str, Any]) -> int:
    match = _SECONDS.fullmatch(str(template.get("timeout")))
    return int(match[1]) if match else 0
