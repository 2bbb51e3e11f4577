"""What a run measured, read from its books and its results: tokens, seconds, duplicates and cache hits of every operation.

It knows records and commits; `cost/profile.py` knows what becomes of measurements. It reads the store and changes nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from xcs_airflow.cost.distribution import Distribution
from xcs_airflow.cost.profile import OperationRun
from xcs_airflow.runtime.books import Price, Usage
from xcs_airflow.runtime.runs import Output, Run, outputs_of
from xcs_airflow.runtime.store import Store, lines_of
from xcs_airflow.runtime.usage import RunUsage, usage_in

_MS = 1000


@dataclass(slots=True)
class _Operation:
    """What the records say of one operation, as they add up."""

    counts: Counter[str] = field(default_factory=Counter)
    shapes: set[tuple[str, str, int]] = field(default_factory=set)
    input_tokens: Counter[int] = field(default_factory=Counter)
    output_tokens: Counter[int] = field(default_factory=Counter)
    call_ms: Counter[int] = field(default_factory=Counter)

    def add(self, record: Mapping[str, Any]) -> None:
        event = record["event"]
        if event == "rows":
            self.counts.update({name: record[name] for name in ("rows", "hits", "duplicates")})
            if "shape" in record:
                self.shapes.add((record["model"], record["shape"], record.get("pack", 1)))
        elif event == "settled" and record["outcome"] in ("answered", "discarded"):
            self.counts[record["outcome"]] += 1
            self.counts["cached_tokens"] += record["cached_tokens"]
            for tokens, name in ((self.input_tokens, "input_tokens"), (self.output_tokens, "output_tokens")):
                if record[name] is not None:
                    tokens[record[name]] += 1
            took_ms = round(record["seconds"] * _MS)
            if record.get("mechanism") == "provider_batch":
                self.counts["batch_ms"] = max(self.counts["batch_ms"], took_ms)
            else:
                self.call_ms[took_ms] += 1


def measured_operations(store: Store, price: Price, run: Run) -> tuple[dict[str, OperationRun], RunUsage]:
    """What every operation of a run did, and the books of the run.

    An operation whose prompt, schema or sampling changed while the run was interrupted has no shape: its figures belong to none.

    Args:
        store: Where books and results are.
        price: What calls of attempts that did not come to their end cost.
        run: Which run.

    Raises:
        RuntimeTaskError: The store cannot be used (XCS608).
    """
    asked: dict[str, _Operation] = {}
    for record in _records(store, f"{run.folder}/ledger"):
        if "operation" in record:
            asked.setdefault(record["operation"], _Operation()).add(record)
    used = usage_in(store, price, run)
    costs: dict[str, Decimal | None] = {}
    for usage in used.operations:
        cost, known = _by_price_list(usage), costs.get(usage.operation, Decimal(0))
        costs[usage.operation] = None if cost is None or known is None else known + cost
    left: dict[str, list[Output]] = {}
    for output in outputs_of(store, run):
        left.setdefault(output.step, []).append(output)
    names = sorted({*asked, *left})
    return {name: _operation_run(asked.get(name) or _Operation(), costs.get(name), left.get(name, [])) for name in names}, used


def _operation_run(asked: _Operation, cost_usd: Decimal | None, left: Iterable[Output]) -> OperationRun:
    model, shape, pack = next(iter(asked.shapes)) if len(asked.shapes) == 1 else (None, None, 1)
    lists = [output.count for output in left if output.form in ("list", "collection")]
    busy = [output.busy_ms for output in left if output.busy_ms is not None]
    counts = asked.counts
    return OperationRun(
        model=model,
        shape=shape,
        pack=pack,
        rows=counts["rows"],
        hits=counts["hits"],
        duplicates=counts["duplicates"],
        calls=counts["answered"],
        discarded=counts["discarded"],
        input_tokens=Distribution.counted(asked.input_tokens),
        output_tokens=Distribution.counted(asked.output_tokens),
        cached_tokens=counts["cached_tokens"],
        call_ms=Distribution.counted(asked.call_ms),
        batch_ms=counts["batch_ms"] or None,
        cost_usd=cost_usd,
        items=sum(lists) if lists else None,
        busy_ms=sum(busy) if busy else None,
    )


def _records(store: Store, folder: str) -> Iterator[dict[str, Any]]:
    for name in store.list(folder):
        for line in lines_of(store.chunks(name)):
            try:
                yield json.loads(line)
            except ValueError:  # torn: the process did not live to finish it
                continue


def _by_price_list(usage: Usage) -> Decimal | None:
    """What calls cost on their route by the price list, whoever is billed; None when a price is not known."""
    return None if usage.calls_without_list_price else usage.list_cost_usd - usage.saved_by_batch_usd
