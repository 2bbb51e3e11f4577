"""Computing the steps of a task: their inputs, the function or the model that is asked, and what becomes of the results.

It knows one shard of one task; it does not know which steps are finished already.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from types import TracebackType
from typing import Any, Protocol, Self

from xcs_airflow.errors import RuntimeTaskError, XcsError
from xcs_airflow.manifest import ModelCall, Step, Task
from xcs_airflow.runtime.failures import Failures
from xcs_airflow.runtime.functions import Function
from xcs_airflow.runtime.items import Source, listed_source, rows, stored_source
from xcs_airflow.runtime.models.provider import Message
from xcs_airflow.runtime.question import Question
from xcs_airflow.runtime.results import Results, ResultWriter
from xcs_airflow.runtime.settings import RuntimeSettings
from xcs_airflow.values import Ref, Value, references, resolve

_WINDOW = 1000
"""Rows that stand in memory at a time; twice as many while one window ends and the next begins."""

Row = tuple[str, dict[str, Any]]


class Answering(Protocol):
    """Who answers the steps that ask models, while its block is open."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    def is_stopped(self, question: Question) -> bool:
        """Whether further calls make no sense, and those that were made have failed."""

    async def answers(self, question: Question, messages: Sequence[list[Message]], rows: Sequence[str]) -> list[Any]:
        """The value for every prompt, in order; a `Failure` where there is none."""


def dependencies(step: Step) -> set[str]:
    """The steps whose results a step reads."""
    values = [*step.inputs.values(), *([step.when] if step.when is not None else [])]
    return {ref.operation for value in values for ref in references(value)}


def levels(steps: Sequence[Step]) -> list[list[Step]]:
    """Steps in groups: none reads another of its own or a later group."""
    depth: dict[str, int] = {}
    for step in steps:
        depth[step.id] = 1 + max((depth[need] for need in dependencies(step) if need in depth), default=-1)
    return [[step for step in steps if depth[step.id] == level] for level in sorted(set(depth.values()))]


class StepRunner:
    """Computes steps of one shard.

    Args:
        task: The task they belong to.
        shard: Which part of it.
        parameters: All parameters of the run.
        results: Where inputs come from and results go.
        settings: Where models and the cache are.
        open_session: Opens what answers the steps that ask models.
    """

    def __init__(
        self,
        task: Task,
        shard: int,
        parameters: Mapping[str, Any],
        results: Results,
        settings: RuntimeSettings,
        open_session: Callable[[], Answering],
    ) -> None:
        self._task = task
        self._shard = shard
        self._parameters = parameters
        self._results = results
        self._settings = settings
        self._open_session = open_session
        self._wholes: dict[str, Any] = {}

    def run(self, steps: Sequence[Step]) -> None:
        """Compute steps that do not read each other: functions one after the other, then all models at the same time.

        Raises:
            XcsError: Some steps have no result. The others were finished and committed first.
        """
        errors: list[BaseException] = []
        asking: list[tuple[Step, ModelCall]] = []
        for step in steps:
            try:
                if self._is_left_out(step):
                    self._results.skip(step.id, self._shard)
                elif step.call is not None:
                    asking.append((step, step.call))
                else:
                    self._run_function(step)
            except XcsError as error:
                errors.append(error)
        if asking:
            errors += asyncio.run(self._ask_side_by_side(asking))
        _raise_together(errors)

    def question(self, step: Step, call: ModelCall) -> Question:
        """What a step asks."""
        return Question(step.id, call, step.cache, self._settings, step.attempts, is_step=True, varies=step.map_over)

    def prompts(self, step: Step, question: Question) -> Iterator[tuple[str, list[Message]]]:
        """The messages for every row of a step, with the row's key; none when the step is left out."""
        if self._is_left_out(step):
            return
        plain = self._plain_inputs(step)
        rows: Iterator[Row] = self._rows(step) if step.map_over else iter([("", {})])
        for key, row in rows:
            yield key, question.messages({**plain, **row})

    def _is_left_out(self, step: Step) -> bool:
        if step.when is not None and (self._reads_skipped(step.when) or not self._value(step, "when", step.when)):
            return True
        return any(self._reads_skipped(value) for value in step.inputs.values())

    def _reads_skipped(self, value: Value) -> bool:
        return any(self._results.form(ref.operation, self._shard, self._task.shards) == "skipped" for ref in references(value))

    def _run_function(self, step: Step) -> None:
        began = time.perf_counter()
        function = Function(str(step.func), step.id)
        plain = self._plain_inputs(step)
        if not step.map_over:
            self._commit_plain(step, function.run(plain), began)
            return
        with self._results.writer(step.id, self._shard, "collection", began) as writer:
            for key, row in self._rows(step):
                result = function({**plain, **row})
                value = bool(result) if step.collect == "filter" else function.as_json(result)
                _collect(writer, step, key, row, value)

    async def _ask_side_by_side(self, asking: Sequence[tuple[Step, ModelCall]]) -> list[BaseException]:
        """Ask for all steps at the same time; gives what went wrong."""
        async with self._open_session() as session:
            done = await asyncio.gather(*(self._ask(session, step, call) for step, call in asking), return_exceptions=True)
        return [error for error in done if error is not None]

    async def _ask(self, session: Answering, step: Step, call: ModelCall) -> None:
        question = self.question(step, call)
        failures = Failures()
        if not step.map_over:
            plain = await asyncio.to_thread(self._plain_inputs, step)
            answers = await session.answers(question, await self._prompts(question, [plain]), [""])
            failures.count(answers)
            failures.raise_any()
            self._commit_plain(step, answers[0])
            return
        plain, remaining = await asyncio.to_thread(lambda: (self._plain_inputs(step), self._rows(step)))
        with self._results.writer(step.id, self._shard, "collection") as writer:

            def write(window: Sequence[Row], answers: Sequence[Any]) -> None:
                failures.count(answers)
                if not failures:
                    for (key, row), answer in zip(window, answers, strict=True):
                        _collect(writer, step, key, row, answer)

            await self._ask_windows(session, question, remaining, plain, write)
            failures.raise_any()

    async def _ask_windows(
        self,
        session: Answering,
        question: Question,
        remaining: Iterator[Row],
        plain: Mapping[str, Any],
        write: Callable[[Sequence[Row], Sequence[Any]], None],
    ) -> None:
        """Ask for all rows, a window at a time. The next one begins while the last calls of its predecessor are still out."""
        begun: list[tuple[list[Row], asyncio.Task[list[Any]]]] = []
        try:
            while not session.is_stopped(question) and (window := await asyncio.to_thread(_take, remaining)):
                messages = await self._prompts(question, [{**plain, **row} for _, row in window])
                keys = [key for key, _ in window]
                begun.append((window, asyncio.create_task(session.answers(question, messages, keys))))
                if len(begun) > 1:
                    earlier, task = begun.pop(0)
                    write(earlier, await task)
            for window, task in begun:
                write(window, await task)
        finally:
            # Whatever went wrong, calls that are out are paid for: their answers are still remembered.
            await asyncio.gather(*(task for _, task in begun), return_exceptions=True)

    async def _prompts(self, question: Question, rows: Sequence[Mapping[str, Any]]) -> list[list[Message]]:
        """The messages for every row. What the user's code does must not hold up the calls in flight."""

        def write() -> list[list[Message]]:
            return [question.messages(row) for row in rows]

        return await asyncio.to_thread(write) if question.runs_code else write()

    def _plain_inputs(self, step: Step) -> dict[str, Any]:
        return {name: self._value(step, name, value) for name, value in step.inputs.items() if name not in step.map_over}

    def _rows(self, step: Step) -> Iterator[Row]:
        return rows([self._source(step, name) for name in step.map_over], step.id)

    def _source(self, step: Step, name: str) -> Source:
        value = step.inputs[name]
        shard, shards = self._shard, self._task.shards
        if isinstance(value, Ref) and not value.path and self._results.form(value.operation, shard, shards) != "value":
            return stored_source(name, self._results, value.operation, shard, shards)
        listed = self._value(step, name, value)
        try:
            items = list(listed)
        except TypeError:
            kind = type(listed).__name__
            raise RuntimeTaskError.because("XCS612", operation=step.id, input=name, type=kind) from None
        return listed_source(name, items, shard, shards)

    def _value(self, step: Step, name: str, value: Value) -> Any:
        try:
            return resolve(value, self._parameters, self._whole)
        except (KeyError, IndexError, TypeError):
            for ref in references(value):
                _check_path(step, name, ref, self._whole(ref.operation))
            raise

    def _whole(self, step_id: str) -> Any:
        if step_id not in self._wholes:
            self._wholes[step_id] = self._results.whole(step_id)
        return self._wholes[step_id]

    def _commit_plain(self, step: Step, value: Any, began: float | None = None) -> None:
        """Commit the result of a step that ran once; what is a list can be read item by item later."""
        items = iter(value) if isinstance(value, list) else value
        is_list = hasattr(items, "__next__")
        with self._results.writer(step.id, self._shard, "list" if is_list else "value", began) as writer:
            for index, item in enumerate(items if is_list else [value]):
                _write(writer, step, str(index), item)


def _take(remaining: Iterator[Row]) -> list[Row]:
    return list(islice(remaining, _WINDOW))


def _check_path(step: Step, name: str, ref: Ref, result: Any) -> None:
    found = result
    for depth, part in enumerate(ref.path):
        try:
            found = found[part]
        except (KeyError, IndexError, TypeError):
            path = "".join(f"[{passed!r}]" for passed in ref.path[: depth + 1])
            raise RuntimeTaskError.because(
                "XCS616", operation=step.id, input=name, path=path, name=ref.operation, type=type(result).__name__
            ) from None


def _collect(writer: ResultWriter, step: Step, key: str, row: Mapping[str, Any], value: Any) -> None:
    """Write what becomes of the result for one item."""
    if step.collect == "filter":
        if value:
            _write(writer, step, key, row[step.map_over[0]])
    elif step.collect == "flat_map":
        try:
            parts = list(value)
        except TypeError:
            raise RuntimeTaskError.because("XCS618", operation=step.id, type=type(value).__name__, key=key) from None
        for index, part in enumerate(parts):
            _write(writer, step, f"{key}/{index}", part)
    else:
        _write(writer, step, key, value)


def _write(writer: ResultWriter, step: Step, key: str, value: Any) -> None:
    try:
        writer.write(key, value)
    except (TypeError, ValueError, RecursionError) as error:
        raise RuntimeTaskError.because("XCS604", operation=step.id, function=step.func or "the model", reason=str(error)) from None


def _raise_together(errors: Sequence[BaseException]) -> None:
    """Raise several errors as one: anything unexpected first, else all findings, final if one of them is."""
    for error in errors:
        if not isinstance(error, XcsError):
            raise error
    known = sorted((error for error in errors if isinstance(error, XcsError)), key=lambda error: getattr(error, "retryable", False))
    if len(known) == 1:
        raise known[0]
    if known:
        raise type(known[0])([finding for error in known for finding in error.findings])
