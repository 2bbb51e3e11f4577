"""Mapped calls: which inputs are iterated, which items belong together, and what becomes of the results.

The rule: lists are iterated, side by side; everything else goes to every item whole. A value that does not exist yet is a list
when its type says so, and when it is the only input that can be one. `each` and `whole` overrule it.

It knows inputs and items; it does not know what is done with an item.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

from xcs_airflow.authoring.annotations import is_list, item_of, list_of, type_name
from xcs_airflow.authoring.symbolic import Each, SymbolicValue, Whole
from xcs_airflow.errors import TraceError
from xcs_airflow.ir.executor import Collected, Items, join_keys
from xcs_airflow.manifest import Collect

T = TypeVar("T")

_MARK_IT = "mark the inputs to iterate with each(...), the others with whole(...), or annotate what returns them"
_GIVE_A_LIST = "map over a list, a parameter, or the result of another step"


class Mapped(list[T], Generic[T]):
    """The results of a mapped call, which know the items they belong to.

    Attributes:
        keys: The key of every item: its position path, as in `17` or `17/0`.
    """

    def __init__(self, items: Mapping[str, T]) -> None:
        super().__init__(items.values())
        self.keys = tuple(items)


def iterated(function: str, inputs: Mapping[str, Any], place: str | None) -> tuple[str, ...]:
    """The names of the inputs that a mapped call iterates, in the order they were given.

    Raises:
        TraceError: There is none, or the types leave it open.
    """
    answers = {name: _is_iterated(value) for name, value in inputs.items()}
    sure = [name for name, answer in answers.items() if answer]
    open_ = [name for name, answer in answers.items() if answer is None]
    if not sure and len(open_) == 1:
        return (open_[0],)
    if open_:
        reason = "its type does not say whether it is a list"
        raise TraceError.because("XCS106", function=function, name=open_[0], reason=reason, instead=_MARK_IT, place=place)
    unfit = next((name for name, value in inputs.items() if isinstance(value, Each) and _is_list(value.values) is False), None)
    if unfit or not sure:
        name = unfit or next(iter(inputs), "nothing")
        raise TraceError.because("XCS106", function=function, name=name, reason="it is not a list", instead=_GIVE_A_LIST, place=place)
    return tuple(sure)


def unmarked(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs without their marks; what can be read only once is read into a list."""
    return {name: _listed(_unmarked(value)) for name, value in inputs.items()}


def result_type(function: str, collect: Collect, returns: Any, iterates: Any, place: str | None) -> Any:
    """The type of the result of a mapped call.

    Args:
        function: The name to use in findings.
        collect: What becomes of the result of one item.
        returns: The type of the result of one item.
        iterates: The first input that is iterated.
        place: `file:line` of the call.

    Raises:
        TraceError: Results of that type cannot be used so.
    """
    if collect == "map":
        return list_of(returns)
    if collect == "flat_map":
        if is_list(returns) is False:
            raise TraceError.because("XCS112", function=function, verb=collect, expected="a list", type=type_name(returns), place=place)
        return list_of(item_of(returns))
    if returns not in (bool, Any):
        instead = "let it return bool; for a model: output=bool"
        facts = {"expected": "true or false", "type": type_name(returns), "instead": instead}
        raise TraceError.because("XCS112", function=function, verb=collect, place=place, **facts)
    return iterates._annotation if isinstance(iterates, SymbolicValue) else list  # noqa: SLF001


def rows_of(function: str, names: Sequence[str], values: Mapping[str, Any], place: str | None) -> dict[str, dict[str, Any]]:
    """The inputs for every item, by the item's key.

    Args:
        function: The name to use in findings.
        names: The inputs that are iterated.
        values: All inputs.
        place: `file:line` of the call.

    Raises:
        TraceError: The items of two inputs do not belong together.
    """
    collections = {name: _items(values[name]) for name in names}
    try:
        keys = join_keys(collections)
    except ValueError as error:
        facts = {"reason": str(error), "instead": "map over lists of equal length, or over results for the items of one list"}
        raise TraceError.because("XCS106", function=function, name=names[-1], place=place, **facts) from error
    whole = {name: value for name, value in values.items() if name not in names}
    return {key: {**whole, **{name: items[key] for name, items in collections.items()}} for key in keys}


def collected(collect: Collect, answers: Mapping[str, Any], items: Mapping[str, Any]) -> Mapped[Any]:
    """What a mapped call returns.

    Args:
        collect: What becomes of the result of one item.
        answers: The results, by the items' keys.
        items: The items of the first input that is iterated, by their keys.
    """
    if collect == "filter":
        return Mapped({key: items[key] for key, answer in answers.items() if answer})
    if collect == "flat_map":
        return Mapped({f"{key}/{index}": part for key, answer in answers.items() for index, part in enumerate(answer)})
    return Mapped(answers)


def _is_iterated(value: Any) -> bool | None:
    if isinstance(value, Each | Whole):
        return isinstance(value, Each)
    return _is_list(value)


def _is_list(value: Any) -> bool | None:
    if isinstance(value, SymbolicValue):
        return is_list(value._annotation)  # noqa: SLF001
    return isinstance(value, Collection | Iterator) and not isinstance(value, str | bytes | bytearray | Mapping)


def _unmarked(value: Any) -> Any:
    if isinstance(value, Each):
        return value.values
    return value.value if isinstance(value, Whole) else value


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, Iterator) and not isinstance(value, SymbolicValue) else value


def _items(value: Any) -> Items:
    if isinstance(value, Mapped):
        return Collected(zip(value.keys, value, strict=True))
    return {str(index): item for index, item in enumerate(value)}
