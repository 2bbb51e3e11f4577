"""Runs a function with values that do not exist yet and writes down the steps it takes.

It knows the graph that grows and the findings on the way; it does not know what kinds of steps there are.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xcs_airflow.authoring.annotations import schema_of
from xcs_airflow.authoring.code_digest import CodeDigests
from xcs_airflow.authoring.conversion import from_json, to_json, to_value
from xcs_airflow.authoring.places import line_of_error, place_here, place_of_error
from xcs_airflow.authoring.signature import Input
from xcs_airflow.authoring.symbolic import IN_AN_OP, SymbolicValue
from xcs_airflow.errors import Finding, TraceError, XcsError
from xcs_airflow.ir.check import check
from xcs_airflow.ir.graph import Graph, PipelinePolicy
from xcs_airflow.ir.operation import Operation
from xcs_airflow.ir.text import print_operation, print_value
from xcs_airflow.manifest import ParameterSpec
from xcs_airflow.values import Parameter, Ref, Value, references

_ACTIVE: ContextVar[Trace | None] = ContextVar("xcs_airflow_trace", default=None)


def active_trace() -> Trace | None:
    """The trace that is going on in this context, if any."""
    return _ACTIVE.get()


class Trace:
    """What one trace has written down so far.

    Attributes:
        graph: The steps.
        findings: What is wrong with them; the trace goes on to find the rest.
        root: The pipeline's folder, from which places are given.
        code: What the functions of the steps say.
    """

    def __init__(self, name: str, root: Path) -> None:
        self.graph = Graph(name=name)
        self.findings: list[Finding] = []
        self.root = root
        self.code = CodeDigests()
        self._uses: dict[str, int] = {}

    def place(self) -> str | None:
        """`file:line` of the user's line that is running."""
        return place_here(self.root)

    def printed(self, value: Ref | Parameter) -> str | None:
        """How the operation behind a value reads."""
        if isinstance(value, Parameter):
            return f"the parameter {print_value(value)}"
        return print_operation(self.graph[value.operation]) if value.operation in self.graph else None

    def free_id(self, name: str) -> str:
        """A name for the next operation: `name`, or `name.2`, `name.3` and so on when it is taken."""
        while True:
            self._uses[name] = count = self._uses.get(name, 0) + 1
            candidate = name if count == 1 else f"{name}.{count}"
            if candidate not in self.graph:
                return candidate

    def record(self, name: str, make: Callable[[str], tuple[Operation, Any]]) -> SymbolicValue:
        """Write one step down. What is wrong with it is kept for the end, so that one trace finds everything.

        Args:
            name: What to call it.
            make: Gives, for an id, the operation and the type of its result.
        """
        operation_id = self.free_id(name)
        try:
            operation, annotation = make(operation_id)
            return SymbolicValue(self, self.graph.add_operation(operation), annotation)
        except XcsError as error:
            self.findings += error.findings
            return SymbolicValue(self, Ref(operation=operation_id), Any)


@dataclass(frozen=True)
class Traced:
    """A function as a graph.

    Attributes:
        graph: Its steps.
        returned: What it returned, made of values that do not exist yet.
    """

    graph: Graph
    returned: Any

    def decode(self, value: Any) -> Any:
        """What a run computed for the graph's output, in the types the function would have returned."""
        return from_json(self.returned, value)


def trace_function(
    func: Callable[..., Any],
    *,
    name: str,
    root: Path,
    parameters: Iterable[Input],
    known: Mapping[str, Any] | None = None,
    policy: PipelinePolicy | None = None,
    source: str | None = None,
) -> Traced:
    """Run a function once to see its steps.

    Args:
        func: It is called with one value per parameter.
        name: The graph's name.
        root: The folder from which places are given.
        parameters: The inputs whose values only a run knows.
        known: The values of all other inputs.
        policy: What the author wants of every run.
        source: `file:line` of the function.

    Raises:
        TraceError: The function does what only a run can do; carries every finding.
        GraphError: The graph it describes is not well formed; carries every finding.
    """
    trace = Trace(name, root)
    inputs = list(parameters)
    symbols = {entry.name: SymbolicValue(trace, Parameter(parameter=entry.name), entry.annotation) for entry in inputs}
    token = _ACTIVE.set(trace)
    try:
        specs = [_spec(entry, trace, source) for entry in inputs]
        returned = func(**symbols, **(known or {}))
        output = _output(returned, trace, source)
    except XcsError as error:
        raise TraceError(tuple(dict.fromkeys([*trace.findings, *error.findings]))) from error
    except Exception as error:
        raise TraceError([*trace.findings, _why(error, trace)]) from error
    finally:
        _ACTIVE.reset(token)
    if trace.findings:
        raise TraceError(trace.findings)
    return Traced(check(trace.graph.replace(parameters=specs, output=output, policy=policy, source=source)), returned)


def _spec(entry: Input, trace: Trace, place: str | None) -> ParameterSpec:
    schema = {} if entry.annotation is Any else schema_of(entry.annotation, trace.graph.name, place)
    if entry.is_required:
        return ParameterSpec(name=entry.name, value_schema=schema)
    try:
        return ParameterSpec(name=entry.name, has_default=True, default=to_json(entry.default), value_schema=schema)
    except ValueError as error:
        raise TraceError.because("XCS104", value=entry.default, place=place) from error


def _output(returned: Any, trace: Trace, place: str | None) -> Value | None:
    if returned is None and len(trace.graph):
        return None
    try:
        output = None if inspect.isgenerator(returned) or returned is None else to_value(returned, trace)
    except TraceError as error:
        if error.code != "XCS104":
            raise
        output = None
    if output is None or not any(references(output)):
        raise TraceError.because("XCS109", value=returned, place=place)
    return output


def _why(error: Exception, trace: Trace) -> Finding:
    """What an exception in the user's code says; whatever choked on a value that does not exist yet says its type."""
    place = place_of_error(error, trace.root)
    if SymbolicValue.__name__ in str(error):
        return Finding.of("XCS101", what=line_of_error(error, trace.root), instead=IN_AN_OP, place=place)
    return Finding.of("XCS111", function=trace.graph.name, reason=f"{type(error).__name__}: {error}", place=place)
