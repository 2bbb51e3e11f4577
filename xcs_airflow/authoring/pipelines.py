"""`@pipeline`: a function whose calls of steps are the plan of a job.

It knows the function, its settings and its files; it does not know passes, prices or platforms.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from decimal import Decimal
from functools import cached_property
from math import inf
from pathlib import Path
from typing import Any, Generic, Literal, TypedDict, Unpack, overload

from xcs_airflow.authoring.importing import importable
from xcs_airflow.authoring.places import file_of_function, place_of_function
from xcs_airflow.authoring.roots import own_modules, root_of_module
from xcs_airflow.authoring.settings import SettingsReader, cron, dollars, seconds, timezone
from xcs_airflow.authoring.signature import Input, Signature, first_line, refuse_async, refuse_unnamed
from xcs_airflow.authoring.steps import P, R
from xcs_airflow.authoring.trace import active_trace, trace_function
from xcs_airflow.errors import TraceError
from xcs_airflow.ir.check import ID
from xcs_airflow.ir.graph import Graph, PipelinePolicy


class PipelineSettings(TypedDict, total=False):
    """What `@pipeline` can be told. All of it is optional.

    Attributes:
        schedule: When it runs by itself: five fields of cron, as in `0 6 * * *` for every morning at six.
        timezone: IANA name of the schedule's time zone; UTC by default.
        budget: The most a run may cost, as in `"5 USD"`.
        deadline: The longest a run may take: `"2h"`, `"90m"`, or seconds.
        optimize: What to prefer where money and time disagree: `"cost"`, the default, `"latency"`, `"balanced"`, which takes an hour
            for a US dollar, or weights, as in `{"cost": 1, "latency": 20}`: one hour is worth 20 US dollars.
        files: Data files that travel with the code: paths or patterns, relative to the folder of the pipeline's file.
        name: What to call it; by default the function's name.
        description: One line for people; by default the docstring's first.
    """

    schedule: str
    timezone: str
    budget: str | float | Decimal
    deadline: str | float
    optimize: Literal["cost", "latency", "balanced"] | Mapping[str, float]
    files: Sequence[str]
    name: str
    description: str


class Pipeline(Generic[P, R]):
    """A function that describes a job; made by `@pipeline`. Called with values, it simply runs.

    Args:
        func: The function.
        name: What to call it.
        policy: What its author wants of every run.

    Attributes:
        name: What it is called.
        policy: What its author wants of every run.
    """

    __wrapped__: Callable[P, R]

    def __init__(self, func: Callable[P, R], name: str, policy: PipelinePolicy) -> None:
        functools.update_wrapper(self, func)
        self.name = name
        self.policy = policy

    def __repr__(self) -> str:
        return f"<pipeline {self.name}>"

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it here and now, step by step; inside another pipeline, take its steps."""
        if active_trace() is not None:
            return self.__wrapped__(*args, **kwargs)
        with self._importable():
            return self.__wrapped__(*args, **kwargs)

    @cached_property
    def file(self) -> Path:
        """The file it is written in."""
        return file_of_function(self.__wrapped__) or Path(self.__module__)

    @cached_property
    def root(self) -> Path:
        """The folder its modules are imported from: that of its file, or the one that holds its package."""
        return root_of_module(self.__wrapped__.__module__, self.file)

    @property
    def source(self) -> str | None:
        """`file:line` where it is written, as seen from its folder."""
        return place_of_function(self.__wrapped__, self.root)

    def graph(self) -> Graph:
        """The steps it takes, as a graph; its parameters are known only to a run.

        Raises:
            TraceError: It does what only a run can do; carries every finding.
            GraphError: What it describes is not well formed; carries every finding.
        """
        self._check_reachable()
        with self._importable():
            signature = Signature.of_function(self.__wrapped__, self.source)
            parameters = [_typed(entry) for entry in signature.inputs]
            return trace_function(
                self.__wrapped__, name=self.name, root=self.root, parameters=parameters, policy=self.policy, source=self.source
            ).graph

    def code(self) -> dict[str, bytes]:
        """The files a worker needs: the pipeline's own modules and its declared data files, by path from its folder.

        Own are the modules below that folder that its file imports, directly or by way of others.

        Raises:
            TraceError: It is part of the script that is running, or a declared file does not exist.
        """
        self._check_reachable()
        files = own_modules(self.root, self.file) | self._data_files()
        return {path: files[path].read_bytes() for path in sorted(files)}

    def _data_files(self) -> dict[str, Path]:
        folder = self.file.parent
        reader = SettingsReader("pipeline", self.source)
        found: dict[str, Path] = {}
        for pattern in self.policy.files:
            inside = not Path(pattern).is_absolute() and ".." not in Path(pattern).parts
            files = [file for file in folder.glob(pattern) if file.is_file()] if inside else []
            if not files:
                reason = "there is no such file" if inside else "it lies outside the pipeline's folder"
                reader.refuse("files", pattern, reason, f"give paths relative to {folder.name}/")
            found.update({file.relative_to(self.root).as_posix(): file for file in files})
        reader.check()
        return found

    def _check_reachable(self) -> None:
        if self.__wrapped__.__module__ == "__main__":
            reason = "it is defined in the script that is running"
            raise TraceError.because("XCS105", name=self.name, reason=reason, place=place_of_function(self.__wrapped__))

    def _importable(self) -> AbstractContextManager[None]:
        """Its modules by their names, unless Python has them so already."""
        module = sys.modules.get(self.__wrapped__.__module__)
        is_there = module is not None and vars(module) is inspect.unwrap(self.__wrapped__).__globals__
        return nullcontext() if is_there else importable(self.root)


@overload
def pipeline(func: Callable[P, R], /) -> Pipeline[P, R]: ...
@overload
def pipeline(**settings: Unpack[PipelineSettings]) -> Callable[[Callable[P, R]], Pipeline[P, R]]: ...
def pipeline(func: Callable[..., Any] | None = None, /, **settings: Unpack[PipelineSettings]) -> Any:
    """Make a function a pipeline: `@pipeline`, or `@pipeline(schedule="0 6 * * *", budget="5 USD")`.

    Its body calls steps (`@op`, `llm`) and hands their results on; what it returns is the pipeline's result.

    Args:
        func: The function; `@pipeline` without arguments gives it.
        **settings: See `PipelineSettings`.

    Raises:
        TraceError: A setting is not valid; carries every finding.
    """

    def decorate(func: Callable[P, R]) -> Pipeline[P, R]:
        place = place_of_function(func)
        refuse_unnamed(func, "pipeline", place)
        refuse_async(func, "pipeline", place)
        reader = SettingsReader("pipeline", place)
        reader.check_names(settings, PipelineSettings.__annotations__)
        name = reader.read("name", settings.get("name", func.__name__), _name)
        return Pipeline(func, name or "", reader.build(PipelinePolicy, _policy_fields(func, settings, reader)))

    return decorate if func is None else decorate(func)


def _policy_fields(func: Callable[..., Any], settings: PipelineSettings, reader: SettingsReader) -> dict[str, Any]:
    return {
        "schedule": reader.read("schedule", settings.get("schedule"), cron),
        "timezone": reader.read("timezone", settings.get("timezone"), timezone) or "UTC",
        "budget_usd": reader.read("budget", settings.get("budget"), dollars),
        "deadline_s": reader.read("deadline", settings.get("deadline"), seconds),
        **_objective(settings.get("optimize", "cost"), reader),
        "files": tuple(settings.get("files", ())),
        "description": settings.get("description", first_line(func)),
    }


def _objective(given: object, reader: SettingsReader) -> dict[str, Any]:
    """What is preferred: a word, or what an hour is worth in US dollars."""
    if not isinstance(given, Mapping):
        return {"optimize": given}
    amounts = [given.get(name, 0) for name in ("cost", "latency")]
    if set(given) - {"cost", "latency"} or not all(isinstance(amount, (int, float)) and 0 <= amount < inf for amount in amounts):
        reader.refuse("optimize", given, "weights are numbers for cost and latency", 'write {"cost": 1, "latency": 20}')
        return {}
    cost, latency = amounts
    if not latency or not cost:
        return {"optimize": "latency" if latency else "cost"}
    return {"optimize": "balanced", "hour_usd": Decimal(str(latency)) / Decimal(str(cost))}


def _name(value: object) -> str:
    if not isinstance(value, str) or not ID.fullmatch(value):
        raise ValueError("a name is 1 to 250 ASCII letters, digits, '_', '-' and '.'")
    return value


def _typed(entry: Input) -> Input:
    """A parameter with its type, or else that of its default."""
    guess = Any if entry.is_required or entry.default is None else type(entry.default)
    return dataclasses.replace(entry, annotation=guess) if entry.annotation is Any else entry
