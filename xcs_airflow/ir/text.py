"""The printed form of a graph: one line per operation, as a person would write it on paper.

It knows how things read; it is not parsed back (JSON is the durable form).
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from xcs_airflow.ir.graph import Graph
from xcs_airflow.ir.llm_ops import LLMOperation
from xcs_airflow.ir.operation import Operation
from xcs_airflow.manifest import ParameterSpec
from xcs_airflow.values import Constant, ListOf, Parameter, RecordOf, Ref, Value

_LONGEST_CONSTANT = 40


def print_graph(graph: Graph, notes: Mapping[str, str] | None = None) -> str:
    """A graph as text.

    Args:
        graph: What to print.
        notes: A remark per operation id, such as its estimated cost.
    """
    head = f"graph {printable(graph.name)}({', '.join(_parameter(spec) for spec in graph.parameters)}){_policy(graph)}:"
    body = [f"  {print_operation(op, (notes or {}).get(op.id, ''))}" for op in graph]
    return "\n".join([head, *body, f"  return {print_value(graph.result())}"])


def print_operation(operation: Operation, note: str = "") -> str:
    """One operation as one line, `%result = what(inputs) [facts]  # file:line`."""
    inputs = ", ".join(_input(operation, name, value) for name, value in operation.inputs.items())
    line = f"%{operation.id} = {_target(operation)}({inputs})"
    facts = _facts(operation)
    if facts:
        line += f" [{' '.join(facts)}]"
    if operation.when is not None:
        line += f" when {print_value(operation.when)}"
    if note:
        line += f"  {note}"
    return f"{line}  # {printable(operation.source)}" if operation.source else line


def printable(text: str) -> str:
    """Text on one line: what moves the cursor or hides is escaped."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def print_value(value: Value) -> str:
    """Where a value comes from, as text: `%operation`, `$parameter`, or JSON."""
    if isinstance(value, Ref):
        return f"%{value.operation}" + "".join(f"[{json.dumps(step)}]" for step in value.path)
    if isinstance(value, Parameter):
        return f"${value.parameter}"
    if isinstance(value, ListOf):
        return f"[{', '.join(print_value(item) for item in value.items)}]"
    if isinstance(value, RecordOf):
        return "{" + ", ".join(f"{json.dumps(name)}: {print_value(item)}" for name, item in value.fields.items()) + "}"
    return _constant(value)


def _constant(value: Constant) -> str:
    text = json.dumps(value.constant, ensure_ascii=True)
    return text if len(text) <= _LONGEST_CONSTANT else f"{text[: _LONGEST_CONSTANT - 1]}…"


def _parameter(spec: ParameterSpec) -> str:
    return f"{spec.name}={_constant(Constant(constant=spec.default))}" if spec.has_default else spec.name


def _policy(graph: Graph) -> str:
    policy = graph.policy
    words = [
        f" schedule={policy.schedule!r}" if policy.schedule else "",
        f" budget={policy.budget_usd} USD" if policy.budget_usd is not None else "",
        f" deadline={policy.deadline_s:g} s" if policy.deadline_s is not None else "",
    ]
    return "".join(words)


def _input(operation: Operation, name: str, value: Value) -> str:
    each = "each " if name in operation.map_over else ""
    return f"{name}={each}{print_value(value)}"


def _target(operation: Operation) -> str:
    verb = f"{operation.collect} " if operation.is_mapped else ""
    if isinstance(operation, LLMOperation):
        body = operation.func or operation.prompt_func
        return f"{verb}llm {operation.metadata.model}" + (f" {body}" if body else "")
    return f"{verb}{operation.func}"


def _facts(operation: Operation) -> list[str]:
    facts: list[tuple[str, float | None]] = []
    if isinstance(operation, LLMOperation):
        data = operation.metadata
        facts += [
            ("in", data.estimated_input_tokens),
            ("out", data.estimated_output_tokens),
            ("tokens", data.estimated_tokens),
            ("max", data.max_tokens),
            ("t", data.temperature),
        ]
    facts += [("items", operation.items), ("shards", operation.shards)]
    words = [f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in facts if value is not None]
    if isinstance(operation, LLMOperation):
        if operation.cache is not None:
            words.append("cached")
        if operation.batch is not None:
            size = f"/{operation.batch.pack_size}" if operation.batch.pack_size > 1 else ""
            words.append(f"batch={operation.batch.mechanism}:{operation.batch.group}×{operation.batch.in_flight}{size}")
        if operation.prefix is not None:
            words.append("prefix primed" if operation.prefix.prime else "prefix")
        if operation.probe:
            words.append("probed")
    if operation.fused is not None:
        words.append(f"fused={operation.fused}")
    return words
