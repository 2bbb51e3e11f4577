"""The reference interpreter: what a graph means, in as few lines as possible.

It knows the meaning and nothing else: no store, no cache, no concurrency, no retries. Tests hold everything else against it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from xcs_airflow.ir.graph import Graph
from xcs_airflow.ir.llm_ops import LLMOperation
from xcs_airflow.ir.operation import Operation
from xcs_airflow.values import Ref, Value, resolve

AskModel = Callable[[LLMOperation, list[dict[str, str]]], Any]
"""Answers the messages of one call."""

Items = dict[str, Any]
"""A collection: item key to item. Keys are position paths, as in `17` or `17/0`."""


class Skipped:
    """The result of an operation whose `when` was false, or that reads such a result."""


def evaluate(
    graph: Graph,
    parameters: Mapping[str, Any] | None = None,
    *,
    ask_model: AskModel,
    find: Callable[[str], Callable[..., Any]] | None = None,
) -> Any:
    """Compute the value of a graph, one operation after the other.

    Args:
        graph: A well-formed graph.
        parameters: Values for its parameters; the rest take their defaults.
        ask_model: Stands for every model.
        find: Turns an address into a function; imports it by default.
    """
    given = {spec.name: spec.default for spec in graph.parameters if spec.has_default} | dict(parameters or {})
    results: dict[str, Any] = {}
    for operation in graph.in_order():
        results[operation.id] = _run(operation, given, results, ask_model, find or import_function)
    return resolve(graph.result(), given, lambda name: _whole(results[name]))


def import_function(address: str) -> Callable[..., Any]:
    """The function at an address, without the decorators of this package."""
    module, _, name = address.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return getattr(found, "__wrapped__", found)  # type: ignore[no-any-return]


def _run(
    operation: Operation, given: Mapping[str, Any], results: dict[str, Any], ask: AskModel, find: Callable[[str], Callable[..., Any]]
) -> Any:
    def whole(name: str) -> Any:
        if results[name] is Skipped:
            raise _SkipError
        return _whole(results[name])

    def call(inputs: dict[str, Any]) -> Any:
        if not isinstance(operation, LLMOperation) or operation.func:
            return _listed(find(str(operation.func))(**inputs))
        messages = operation.prompt.render(inputs) if operation.prompt else find(str(operation.prompt_func))(**inputs)
        return ask(operation, [{"role": "user", "content": messages}] if isinstance(messages, str) else messages)

    try:
        if operation.when is not None and not resolve(operation.when, given, whole):
            return Skipped
        plain = {name: resolve(value, given, whole) for name, value in operation.inputs.items() if name not in operation.map_over}
        if not operation.is_mapped:
            return call(plain)
        mapped = {name: _items(operation.inputs[name], given, results, whole) for name in operation.map_over}
    except _SkipError:
        return Skipped
    keys = join_keys(mapped)
    answers = {key: call({**plain, **{name: items[key] for name, items in mapped.items()}}) for key in keys}
    return Collected(_collect(operation, answers, mapped[operation.map_over[0]]))


class _SkipError(Exception):
    pass


class Collected(Items):
    """The result of a mapped operation."""


def join_keys(mapped: Mapping[str, Items]) -> list[str]:
    """The keys that items taken together have, in order: those of the smallest collection, which all others must hold."""
    smallest = min(mapped.values(), key=len)
    for name, items in mapped.items():
        missing = [key for key in smallest if key not in items]
        if missing or (_is_plain_list(items) and _is_plain_list(smallest) and len(items) != len(smallest)):
            raise ValueError(f"the items of {name!r} do not belong to the others: {len(items)} against {len(smallest)}")
    return list(smallest)


def _is_plain_list(items: Items) -> bool:
    return not isinstance(items, Collected)


def _collect(operation: Operation, answers: Items, source: Items) -> Items:
    if operation.collect == "filter":
        return {key: source[key] for key, answer in answers.items() if answer}
    if operation.collect == "flat_map":
        return {f"{key}/{index}": item for key, answer in answers.items() for index, item in enumerate(answer)}
    return answers


def _items(value: Value, given: Mapping[str, Any], results: Mapping[str, Any], whole: Callable[[str], Any]) -> Items:
    if isinstance(value, Ref) and not value.path and isinstance(results.get(value.operation), Collected):
        return results[value.operation]  # type: ignore[no-any-return]
    return {str(index): item for index, item in enumerate(resolve(value, given, whole))}


def _whole(result: Any) -> Any:
    if result is Skipped:
        return None
    return list(result.values()) if isinstance(result, Collected) else result


def _listed(result: Any) -> Any:
    return list(result) if hasattr(result, "__next__") else result
