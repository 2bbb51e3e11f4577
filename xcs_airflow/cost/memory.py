"""What earlier estimates found of operations that have not changed since, so that graphs which differ little are estimated in little time.

It knows which fields of an operation its figures come from; how they come from them is `work.py`'s.
"""

from __future__ import annotations

from operator import attrgetter, is_
from typing import TYPE_CHECKING, NamedTuple

from xcs_airflow.cost.latency import goes_through_batch_api, is_local
from xcs_airflow.ir.llm_ops import LLMOperation
from xcs_airflow.ir.operation import Operation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xcs_airflow.cost.assumptions import Use
    from xcs_airflow.cost.flow import Result
    from xcs_airflow.cost.prices import PriceBook
    from xcs_airflow.cost.profile import PipelineProfile
    from xcs_airflow.cost.work import OperationWork
    from xcs_airflow.manifest import ParameterSpec

COUNTED = ("func", "inputs", "map_over", "collect", "pure", "items", "distinct_items", "timeout_s", "when", "code")
"""The fields of every operation from which its work is computed."""

COUNTED_OF_CALLS = ("metadata", "prompt", "prompt_func", "output_schema")
"""Likewise, those that only model calls have."""

HOW_CALLS_ARE_MADE = ("batch", "cache", "prefix", "shards", "resources")
"""The fields of which only a part matters to the work, and to that of some operations only."""

_fields_of_functions = attrgetter(*COUNTED)
_fields_of_calls = attrgetter(*COUNTED, *COUNTED_OF_CALLS)


class Found(NamedTuple):
    """What an estimate found of one operation.

    Attributes:
        work: What it does.
        result: What flows on from it.
        uses: What was assumed for it.
    """

    work: OperationWork
    result: Result
    uses: tuple[Use, ...]


class _Known(NamedTuple):
    fields: tuple[object, ...]
    reads: tuple[Result | None, ...]
    found: Found


class Memory:
    """What estimates with the same prices, profile and parameters found.

    What is asked about other ones makes it forget everything.
    """

    def __init__(self) -> None:
        self._about: tuple[object, ...] = ()
        self._is_profiled = False
        self._known: dict[tuple[str, tuple[object, ...]], _Known] = {}
        # Nothing is found quicker than the same object; it is kept, so that no other gets its number.
        self._same: dict[int, tuple[Operation, tuple[Result | None, ...], Found]] = {}

    def begin(self, parameters: Sequence[ParameterSpec], prices: PriceBook, profile: PipelineProfile | None) -> None:
        """An estimate begins.

        Args:
            parameters: The graph's.
            prices: The price book.
            profile: What earlier runs measured; None when nothing was.
        """
        about = (parameters, prices, profile)
        if self._about != about:
            self._about = about
            self._is_profiled = profile is not None
            self._known.clear()
            self._same.clear()

    def find(self, operation: Operation, reads: tuple[Result | None, ...]) -> Found | None:
        """What was found of an operation, or of an earlier copy with the same figures; None when it has to be computed.

        Args:
            operation: Whose work.
            reads: What flows into it.
        """
        same = self._same.get(id(operation))
        if same is not None and same[0] is operation and same[1] == reads:
            return same[2]
        found = self._found(operation, reads)
        if found is not None:
            self._same[id(operation)] = (operation, reads, found)
        return found

    def _found(self, operation: Operation, reads: tuple[Result | None, ...]) -> Found | None:
        key = (operation.id, self._how(operation))
        known = self._known.get(key)
        # Copies of an operation share the fields that did not change, and nothing is quicker than to see that.
        if known is None or not all(map(is_, known.fields, _fields(operation))) or known.reads != reads:
            return None
        found = known.found
        if found.work.operation is not operation:
            found = found._replace(work=found.work._replace(operation=operation))
            self._known[key] = known._replace(found=found)
        return found

    def keep(self, operation: Operation, reads: tuple[Result | None, ...], found: Found) -> None:
        """Remember what was found.

        Args:
            operation: Whose work.
            reads: What flowed into it.
            found: What was computed from it.
        """
        self._known[operation.id, self._how(operation)] = _Known(_fields(operation), reads, found)
        self._same[id(operation)] = (operation, reads, found)

    def _how(self, operation: Operation) -> tuple[object, ...]:
        """What matters of how calls are made.

        Only calls about many items may repeat each other, unless earlier runs filled the cache, and only those that begin alike may find
        something in a prompt cache, which depends on all of it.
        """
        if not isinstance(operation, LLMOperation):
            return ()
        is_cached = operation.cache is not None and (operation.is_mapped or self._is_profiled)
        how: tuple[object, ...] = (is_cached, goes_through_batch_api(operation), operation.items_per_request)
        if is_local(operation):
            how = (*how, operation.resources)
        if operation.is_mapped and operation.prompt is not None:
            in_flight = None if operation.batch is None else operation.batch.in_flight
            how = (*how, in_flight, operation.shards, operation.prefix)
        return how


def _fields(operation: Operation) -> tuple[object, ...]:
    fields: tuple[object, ...] = (_fields_of_calls if isinstance(operation, LLMOperation) else _fields_of_functions)(operation)
    return fields
