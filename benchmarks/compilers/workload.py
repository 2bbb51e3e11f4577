"""A pipeline of any number of operations, as the JSON text of a graph; the same text every time.

It knows what a large pipeline is made of; it does not know who reads it.

A hundred operations are one case: a function that loads it, two mapped calls in a chain, calls that read parts of it, calls that read
the answers of others, some of them under a condition, one that repeats another, one that nobody reads, and a function that reads all.
Four models of three providers are asked, some calls with a temperature of 0 or a seed. Calls are 95 of a hundred, because every
function is a task of its own: AWS and Google Cloud take about a thousand tasks of one pipeline, and calls share theirs.
"""

from __future__ import annotations

import json
from typing import Any

CASE = 100
_FIRST, _CHECKS = 60, 33
_MODELS = ("openai/gpt-4.1-mini", "openai/gpt-4.1-mini", "anthropic/claude-haiku-4-5", "google/gemini-2.5-flash", "openai/gpt-4.1")
_ASKS = "Read the part below, which is one of many of a longer case, and answer in one short sentence for a colleague who knows it"

Operation = dict[str, Any]


def document(operations: int) -> str:
    """The text of a graph of so many operations, a multiple of 100."""
    cases = range(operations // CASE)
    graph = {
        "schema_version": 1,
        "name": "cases",
        "parameters": [{"name": name, "has_default": True, "default": value} for name, value in (("folder", "in"), ("is_thorough", True))],
        "policy": {"optimize": "balanced", "description": "Reads many cases, asks about their parts, and reports."},
        "operations": [operation for case in cases for operation in _case(case)],
        "output": {"items": [{"operation": f"report_{case}"} for case in cases]},
    }
    return json.dumps(graph, separators=(",", ":"))


def _case(case: int) -> list[Operation]:
    load = f"load_{case}"
    parts = [
        _call(f"read_{case}_{part}", f"{_ASKS}: what is part {part} of case {case} about?", part, _part(load, part))
        for part in range(_FIRST)
    ]
    checks = [_check(case, number) for number in range(_CHECKS)]
    mapped = [
        {**_call(f"label_{case}", f"{_ASKS}: which kind of page of case {case} is it?", 0, _part(load, "pages")), "map_over": ["text"]},
        {
            **_call(f"rate_{case}", f"{_ASKS}: how sure is this label of case {case}?", 0, {"operation": f"label_{case}"}),
            "map_over": ["text"],
        },
    ]
    again = {**parts[0], "id": f"again_{case}"}
    unread = _call(f"unread_{case}", f"{_ASKS}: would anybody miss case {case}?", 0, _part(load, 0))
    read = [f"check_{case}_{number}" for number in range(_CHECKS)] + [f"rate_{case}", again["id"]]
    inputs = {"answers": {"items": [{"operation": name} for name in read]}, "limit": {"constant": case}}
    report = {"id": f"report_{case}", "func": "cases.report:write", "inputs": inputs, "source": f"cases.py:{case + 40}"}
    return [_load(load, case), *parts, *checks, *mapped, again, unread, _score(case), report]


def _load(name: str, case: int) -> Operation:
    return {
        "id": name,
        "func": "cases.load:load",
        "inputs": {"folder": {"parameter": "folder"}, "case": {"constant": case}},
        "items": 200,
        "resources": {"cpu": 0.5, "memory_mib": 1024},
        "retry": {"attempts": 2, "delay_s": 10},
        "env": {"CASES_ENCODING": "utf-8"},
        "source": f"cases.py:{case + 20}",
    }


def _check(case: int, number: int) -> Operation:
    """A call that reads two answers; one of ten only when the run is a thorough one."""
    text = {"items": [{"operation": f"read_{case}_{part}"} for part in (number, (number + 30) % _FIRST)]}
    call = _call(f"check_{case}_{number}", f"{_ASKS}: do both answers to question {number} of case {case} agree?", number, text)
    return {**call, "when": {"parameter": "is_thorough"}} if number % 10 == 1 else call


def _score(case: int) -> Operation:
    """A function in the middle: it reads a few answers, and nothing but the output reads it."""
    read = {"items": [{"operation": f"check_{case}_{number}"} for number in range(5)]}
    return {
        "id": f"score_{case}",
        "func": "cases.report:score",
        "inputs": {"answers": read},
        "pure": case % 2 == 0,
        "source": "cases.py:30",
    }


def _call(name: str, asks: str, turn: int, text: Operation) -> Operation:
    metadata: Operation = {"model": _MODELS[turn % len(_MODELS)], "max_tokens": 80}
    if turn % 4 == 0:
        metadata["temperature"] = 0
    elif turn % 4 == 1:
        metadata["seed"] = 7
    return {
        "kind": "llm",
        "id": name,
        "prompt": {
            "messages": [{"role": "system", "parts": ["You are brief."]}, {"role": "user", "parts": [f"{asks}\n\n", {"input": "text"}]}]
        },
        "inputs": {"text": text},
        "metadata": metadata,
        "source": f"cases.py:{turn + 1}",
    }


def _part(operation: str, part: int | str) -> Operation:
    return {"operation": operation, "path": [part]}
