"""What `@op` and `llm` have in common: called with values they run, inside a trace they record.

It knows calls and mapped calls; it does not know what a step does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Generic, ParamSpec, TypeVar

from xcs_airflow.authoring.conversion import to_value
from xcs_airflow.authoring.mapping import collected, iterated, result_type, rows_of, unmarked
from xcs_airflow.authoring.places import place_here, place_of_function
from xcs_airflow.authoring.signature import Signature
from xcs_airflow.authoring.symbolic import Each, SymbolicValue, Whole
from xcs_airflow.authoring.trace import Trace, active_trace
from xcs_airflow.errors import GraphError, TraceError
from xcs_airflow.ir.operation import Operation, address_of
from xcs_airflow.manifest import Collect
from xcs_airflow.values import Value

P = ParamSpec("P")
R = TypeVar("R")


class Step(ABC, Generic[P, R]):
    """A function that becomes an operation when a pipeline is traced, and simply runs when it is called with values."""

    @property
    @abstractmethod
    def step_name(self) -> str:
        """What to call its operations."""

    @property
    @abstractmethod
    def function(self) -> Callable[..., Any] | None:
        """The user's function behind it, if there is one."""

    @property
    @abstractmethod
    def signature(self) -> Signature:
        """What it takes and returns."""

    @abstractmethod
    def operation(self) -> Operation:
        """One call of it, but for its id, inputs, place and code."""

    @abstractmethod
    def run(self, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
        """The result for each of some sets of inputs."""

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run once; inside a pipeline, become an operation.

        Raises:
            TraceError: The arguments do not fit.
        """
        trace = active_trace()
        if trace is None:
            result: R = self.run([self._bound_now(args, kwargs)])[0]
            return result

        def record(operation_id: str) -> tuple[Operation, Any]:
            values = self.bind(args, kwargs, trace.place())
            return self._recorded(operation_id, values, trace), self.signature.returns

        return trace.record(self.step_name, record)  # type: ignore[return-value]  # what stands for an R until there is one

    def map(self, /, **inputs: Any) -> list[R]:
        """Run once per item.

        Args:
            **inputs: Lists are iterated, side by side; everything else every item gets as it is. Where a type does not say
                which, or the other is meant: `each(...)`, `whole(...)`.

        Returns:
            The results, in the order of the items.

        Raises:
            TraceError: The inputs do not fit, or there is nothing to iterate.
        """
        return self._spread("map", inputs)

    def flat_map(self, /, **inputs: Any) -> list[Any]:
        """Run once per item and put the lists it returns one behind the other; inputs and errors as in `map`."""
        return self._spread("flat_map", inputs)

    def filter(self, /, **inputs: Any) -> list[Any]:
        """Run once per item and keep the items of the first iterated input where it returns true; the rest as in `map`."""
        return self._spread("filter", inputs)

    def _spread(self, collect: Collect, inputs: Mapping[str, Any]) -> list[Any]:
        trace = active_trace()
        if trace is None:
            return self._run_each(collect, inputs, place_here())

        def record(operation_id: str) -> tuple[Operation, Any]:
            place = trace.place()
            values = self.bind((), unmarked(inputs), place)
            names = iterated(self.step_name, inputs, place)
            annotation = result_type(self.step_name, collect, self.signature.returns, values[names[0]], place)
            operation = self._recorded(operation_id, values, trace)
            return operation.model_copy(update={"map_over": names, "collect": collect}), annotation

        return trace.record(self.step_name, record)  # type: ignore[return-value]  # what stands for a list until there is one

    def _run_each(self, collect: Collect, inputs: Mapping[str, Any], place: str | None) -> list[Any]:
        values = self.bind((), unmarked(inputs), place)
        names = iterated(self.step_name, inputs, place)
        result_type(self.step_name, collect, self.signature.returns, None, place)
        rows = rows_of(self.step_name, names, values, place)
        answers = dict(zip(rows, self.run(list(rows.values())), strict=True))
        return collected(collect, answers, {key: row[names[0]] for key, row in rows.items()})

    def _bound_now(self, positional: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any]:
        """The inputs of a call that runs at once; the user's line takes long to find, and only an error needs it."""
        try:
            return self.bind(positional, named, None)
        except TraceError:
            return self.bind(positional, named, place_here())

    def bind(self, positional: Sequence[Any], named: Mapping[str, Any], place: str | None) -> dict[str, Any]:
        """The value of every input, defaults included, by name.

        Raises:
            TraceError: The arguments do not fit; carries every finding.
        """
        values = self.signature.bind(self.step_name, positional, named, place)
        for value in values.values():
            if isinstance(value, Each | Whole):
                raise TraceError.because("XCS104", value=value, place=place)
            if isinstance(value, SymbolicValue) and active_trace() is None:
                raise TraceError.because("XCS113", what=repr(value), place=place)
        return values

    def _recorded(self, operation_id: str, values: Mapping[str, Any], trace: Trace) -> Operation:
        inputs: dict[str, Value] = {name: to_value(value, trace) for name, value in values.items()}
        code = None if self.function is None else trace.code.of(self.function)
        return self.operation().model_copy(update={"id": operation_id, "inputs": inputs, "source": trace.place(), "code": code})


def worker_address(func: Callable[..., Any]) -> str:
    """The address by which a worker finds a function.

    Raises:
        TraceError: It cannot find it.
    """
    try:
        return address_of(func)
    except GraphError as error:
        place = place_of_function(func)
        raise TraceError([replace(finding, place=place) for finding in error.findings]) from error
