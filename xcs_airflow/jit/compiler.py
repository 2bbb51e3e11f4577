"""Compiles a function for the arguments it is called with, and runs what came of it.

It knows which arguments become parameters and when a compiled form can be used again; it does not decide whether to use it.
"""

from __future__ import annotations

import inspect
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from xcs_airflow.authoring.conversion import to_json
from xcs_airflow.authoring.places import file_of_function, place_of_function
from xcs_airflow.authoring.roots import absolute
from xcs_airflow.authoring.signature import Input, Signature, refuse_async, refuse_unnamed
from xcs_airflow.authoring.trace import Traced, trace_function
from xcs_airflow.errors import TraceError, XcsError
from xcs_airflow.ir.graph import Graph
from xcs_airflow.ir.llm_ops import LLMOperation
from xcs_airflow.jit.decorator import NotCompiledWarning
from xcs_airflow.jit.executor import LLMOptimizedExecutor
from xcs_airflow.manifest import Manifest
from xcs_airflow.values import Constant, ListOf, Parameter


@dataclass(frozen=True)
class Compiled:
    """A function as a manifest.

    Attributes:
        traced: The function's steps as written, and what it returned.
        graph: The steps after the passes.
        manifest: What the runtime runs.
    """

    traced: Traced
    graph: Graph
    manifest: Manifest

    @property
    def questions(self) -> list[LLMOperation]:
        """The operations that ask a model."""
        return [operation for operation in self.graph if isinstance(operation, LLMOperation)]

    def calls(self, arguments: Mapping[str, Any]) -> int | None:
        """How many calls of models it makes for some arguments; None when only a run can tell."""
        counts = [_calls(operation, arguments) for operation in self.questions]
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) else None

    def run(self, arguments: Mapping[str, Any], in_flight: int | None = None) -> Any:
        """Run it in a store that is gone afterwards; answers are remembered in the cache of the environment.

        Args:
            arguments: The function's arguments by name.
            in_flight: How many calls of models may wait at a time; None leaves it as the passes decided.

        Raises:
            RuntimeTaskError: A step failed.
            ModelError: A model gave no usable answer.
        """
        from xcs_airflow.runtime.settings import RuntimeSettings  # noqa: PLC0415  # compile time does without

        parameters = {spec.name: to_json(arguments[spec.name]) for spec in self.graph.parameters}
        manifest = self.manifest if in_flight is None else _with_in_flight(self.manifest, in_flight)
        cache = RuntimeSettings.from_environment().cache_address
        with tempfile.TemporaryDirectory(prefix="xcs-jit-") as store:
            settings = RuntimeSettings.from_environment(store=store, cache=cache)
            return self.traced.decode(LLMOptimizedExecutor(manifest, settings).run("jit", parameters))


class Compiler:
    """The compiled forms of one function, one per structure of arguments.

    Args:
        func: The function.
    """

    def __init__(self, func: Callable[..., Any]) -> None:
        self.func = func
        self._forms: dict[object, Compiled | None] = {}

    def compile(self, arguments: Mapping[str, Any]) -> Compiled | None:
        """The form for some arguments; None, after one warning, when there is none.

        Args:
            arguments: The function's arguments by name. None and booleans are part of the form, as they are there to be tested;
                everything else is a parameter of it.
        """
        known = {name: value for name, value in arguments.items() if value is None or isinstance(value, bool)}
        inputs = [self._input(name, value) for name, value in arguments.items() if name not in known]
        structure = (tuple(known.items()), tuple((entry.name, str(entry.annotation)) for entry in inputs))
        if structure not in self._forms:
            try:
                self._forms[structure] = self._compiled(inputs, known, arguments)
            except XcsError as error:
                self._forms[structure] = None
                message = f"{self.func.__name__} runs as it is written, because it cannot be compiled:\n{error}"
                warnings.warn(message, NotCompiledWarning, stacklevel=4)
        return self._forms[structure]

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The function's arguments by name, defaults included.

        Raises:
            TypeError: They do not fit, as when the function itself is called.
        """
        bound = inspect.signature(self.func).bind(*args, **kwargs)
        bound.apply_defaults()
        return dict(bound.arguments)

    def _compiled(self, inputs: Sequence[Input], known: Mapping[str, Any], arguments: Mapping[str, Any]) -> Compiled:
        from xcs_airflow.passes import LLMGraphEnhancer  # noqa: PLC0415  # reads prices
        from xcs_airflow.plan import CloudExporter  # noqa: PLC0415  # the same

        place = place_of_function(self.func)
        refuse_unnamed(self.func, "jit", place)
        refuse_async(self.func, "jit", place)
        _refuse_strangers(arguments, place)
        root = (file_of_function(self.func) or absolute("x")).parent
        traced = trace_function(self.func, name=self.func.__name__, root=root, parameters=inputs, known=known, source=place)
        graph = LLMGraphEnhancer().enhance(traced.graph)
        return Compiled(traced, graph, CloudExporter().export(graph).manifest)

    def _input(self, name: str, value: Any) -> Input:
        hint = self._signature.annotation_of(name)
        return Input(name, annotation=type(value) if hint is Any else hint)

    @cached_property
    def _signature(self) -> Signature:
        return Signature.of_function(self.func, place_of_function(self.func))


def _refuse_strangers(arguments: Mapping[str, Any], place: str | None) -> None:
    for value in arguments.values():
        try:
            to_json(value)
        except ValueError as error:
            raise TraceError.because("XCS104", value=value, place=place) from error


def _calls(operation: LLMOperation, arguments: Mapping[str, Any]) -> int | None:
    if not operation.is_mapped:
        return 1
    source = operation.inputs[operation.map_over[0]]
    if isinstance(source, Parameter):
        return len(arguments[source.parameter])
    if isinstance(source, ListOf):
        return len(source.items)
    return len(source.constant) if isinstance(source, Constant) and isinstance(source.constant, list) else None


def _with_in_flight(manifest: Manifest, in_flight: int) -> Manifest:
    tasks = tuple(task.model_copy(update={"in_flight": in_flight}) for task in manifest.tasks)
    return Manifest(**{**{name: getattr(manifest, name) for name in Manifest.model_fields}, "tasks": tasks})
