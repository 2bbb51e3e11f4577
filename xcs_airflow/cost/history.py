"""What the kept runs of a pipeline say together of its operations, as far as they still are what was measured.

It knows means, their spread, and when a measurement is not believed; it does not know prices or how figures add up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil, sqrt
from statistics import fmean, variance

from xcs_airflow.cost.assumptions import Assumed
from xcs_airflow.cost.distribution import Distribution
from xcs_airflow.cost.figures import Figure, MeasuredOperation, Spread
from xcs_airflow.cost.profile import OperationRun, PipelineProfile
from xcs_airflow.ir.llm_ops import LLMOperation
from xcs_airflow.ir.operation import Operation
from xcs_airflow.manifest import shape_of_request

_DEVIATIONS = 2
"""So many standard deviations from the mean are the ends of a range: 95 in 100 of normal variables are inside."""

_MS = 1000


@dataclass(frozen=True)
class History:
    """What the kept runs say of one operation that asks a model.

    Attributes:
        operation: Its id.
        runs: What it did in each, as long as model, prompt, schema and sampling were those of now.
        pack: How many items were asked in one request; what is said of calls is about such requests.
        spread: By how much of itself the mean of one run is assumed to differ from that of the next, before runs tell.
    """

    operation: str
    runs: Sequence[OperationRun]
    pack: int
    spread: float

    @cached_property
    def calls(self) -> int:
        """How many answered calls were measured."""
        return sum(run.calls + run.discarded for run in self.runs)

    @cached_property
    def distinct(self) -> tuple[int, int] | None:
        """How many different requests there were among how many, cached ones aside; None when all came from the cache."""
        asked = sum(run.rows - run.hits for run in self.runs)
        return (asked - sum(run.duplicates for run in self.runs), asked) if asked > 0 else None

    @cached_property
    def hit_share(self) -> float:
        """Which share of the answers came from the cache."""
        rows = sum(run.rows for run in self.runs)
        return sum(run.hits for run in self.runs) / rows if rows else 0.0

    @cached_property
    def cached_share(self) -> float:
        """Which share of the input tokens providers had in their own prompt caches."""
        return _cached_share(self.runs) or 0.0

    def cached_share_of(self, *, is_batch: bool) -> float | None:
        """The same of the runs whose calls went through a provider's batch API, or of those whose calls did not; None without any."""
        return _cached_share([run for run in self.runs if (run.batch_ms is not None) == is_batch])

    @cached_property
    def calls_per_answer(self) -> float:
        """How many calls were paid for each answer that was used: more than 1 where answers did not fit."""
        used = sum(run.calls for run in self.runs)
        return self.calls / used if used else 1.0

    def input_tokens(self, calls: int) -> Figure | None:
        """Input tokens of one of so many calls; None when nobody counted."""
        return self._of_many([run.input_tokens for run in self.runs], calls)

    def output_tokens(self, calls: int) -> Figure | None:
        """Output tokens of one of so many calls; None when nobody counted."""
        return self._of_many([run.output_tokens for run in self.runs], calls)

    @cached_property
    def call_s(self) -> Figure | None:
        """Seconds of one live call: the 10th percentile, the mean and the 90th; None when there were none."""
        whole = self._whole_ms
        if not whole.count:
            return None
        low, high = min(whole.quantile(0.1), whole.mean), max(whole.quantile(0.9), whole.mean)
        return Figure(low=low / _MS, expected=whole.mean / _MS, high=high / _MS, source="profile")

    @cached_property
    def batch_s(self) -> Figure | None:
        """Seconds from handing calls to a provider's batch API until their answers were taken in; None when nobody did."""
        seconds = [run.batch_ms / _MS for run in self.runs if run.batch_ms is not None]
        if not seconds:
            return None
        doubt = _DEVIATIONS * self.spread
        return Figure(low=min(seconds) * (1 - doubt), expected=fmean(seconds), high=max(seconds) * (1 + doubt), source="profile")

    def live_calls(self, calls: int, *, is_remembered: bool) -> Figure:
        """How many calls are made where so many would be with an empty cache.

        Where answers are remembered, as many come from the cache as did in earlier runs, at best all, at worst none.
        """
        low, share = (0.0, 1 - self.hit_share) if is_remembered else (float(calls), 1.0)
        factor = self.calls_per_answer
        return Figure(low=low, expected=calls * share * factor, high=calls * factor, source="profile")

    def measured(self, live_calls: Figure) -> MeasuredOperation:
        """What is told of it beside a plan."""
        return MeasuredOperation(
            operation=self.operation,
            runs=len(self.runs),
            calls=self.calls,
            live_calls=live_calls,
            input_tokens=_spread(Distribution.sum(run.input_tokens for run in self.runs)),
            output_tokens=_spread(Distribution.sum(run.output_tokens for run in self.runs)),
            call_s=_spread(self._whole_ms, _MS),
            distinct_share=None if self.distinct is None else round(self.distinct[0] / self.distinct[1], 4),
            hit_share=round(self.hit_share, 4),
            known_runs=sum(run.hits == run.rows > 0 for run in self.runs),
            cached_share=round(self.cached_share, 4),
        )

    @cached_property
    def _whole_ms(self) -> Distribution:
        return Distribution.sum(run.call_ms for run in self.runs)

    def _of_many(self, parts: Sequence[Distribution], calls: int) -> Figure | None:
        """A number of one call, as it counts in a sum of many: the mean, with the doubt about the mean of the next run.

        The doubt has two parts: calls of one run differ, which matters less the more there are, and runs differ. Before there are
        several runs, the second is assumed; the assumption counts as much as one run.
        """
        known = [part for part in parts if part.count]
        if not known:
            return None
        whole = Distribution.sum(known)
        means = [part.mean for part in known]
        seen = variance(means) * (len(means) - 1) if len(means) > 1 else 0.0
        between = ((self.spread * whole.mean) ** 2 + seen) / len(means)
        within = whole.deviation**2 / max(calls, 1)
        doubt = _DEVIATIONS * sqrt(between + within)
        return Figure(low=max(0.0, whole.mean - doubt), expected=whole.mean, high=whole.mean + doubt, source="profile")


class Histories:
    """What the kept runs say of the operations of a graph.

    Args:
        profile: The runs; None when nothing was measured.
        assumed: Takes note of what is assumed about them, and of operations whose measurements are not believed.
    """

    def __init__(self, profile: PipelineProfile | None, assumed: Assumed) -> None:
        self._runs = profile.runs if profile is not None else ()
        self._assumed = assumed
        self._known: dict[str, History | None] = {}

    def of(self, operation: Operation) -> History | None:
        """What is known of an operation that asks a model; None when nothing is, or what is no longer holds."""
        if not self._runs or not isinstance(operation, LLMOperation):
            return None
        if operation.id not in self._known:
            self._known[operation.id] = self._believed(operation)
        return self._known[operation.id]

    def items(self, operation: Operation) -> int | None:
        """How many items a result had on average, rounded up; None when it was no list."""
        return _mean(run.items for run in self._all(operation.id) if run.items is not None)

    def rows(self, operation: Operation) -> int | None:
        """For how many items an operation that asks a model ran on average, rounded up."""
        return _mean(run.rows for run in self._all(operation.id) if run.rows)

    def factor(self, operation: Operation, source: str) -> float | None:
        """How many items of the result came from one item; None when nobody knows.

        Args:
            operation: Whose result.
            source: The operation whose items it iterates.
        """
        if isinstance(operation, LLMOperation) and self.of(operation) is None:
            return None
        runs = [run.operations for run in self._runs if operation.id in run.operations]
        counts = [(of[operation.id].items, of[operation.id].rows or (of[source].items if source in of else None)) for of in runs]
        known = [(out, into) for out, into in counts if out is not None and into]
        return sum(out for out, _ in known) / sum(into for _, into in known) if known else None

    def function_s(self, operation: Operation, runs: int) -> Figure | None:
        """Seconds that one run of a plain function took; of a mapped one, for one item. None when nobody measured.

        Args:
            operation: The function.
            runs: How often it runs now; where nobody counted its items, it is taken to have run as often.
        """
        seconds = [
            run.busy_ms / _MS / ((run.items if operation.collect == "map" else None) or runs if operation.is_mapped else 1)
            for run in self._all(operation.id)
            if run.busy_ms is not None
        ]
        if not seconds:
            return None
        doubt = _DEVIATIONS * self._spread(operation.id)
        return Figure(low=min(seconds) * (1 - doubt), expected=fmean(seconds), high=max(seconds) * (1 + doubt), source="profile")

    def _all(self, operation_id: str) -> list[OperationRun]:
        return [run.operations[operation_id] for run in self._runs if operation_id in run.operations]

    def _believed(self, operation: LLMOperation) -> History | None:
        runs = [run for run in self._all(operation.id) if run.shape is not None]
        shape = _shape(operation)
        same = [run for run in runs if run.shape == shape and run.code in (None, operation.code)]
        if runs and not same:
            self._assumed.use("profile_changed", operation.id)
        for pack in (operation.items_per_request, 1):
            alike = [run for run in same if run.pack == pack]
            if alike:
                return History(operation.id, alike, pack, self._spread(operation.id))
        return None

    def _spread(self, operation_id: str) -> float:
        return self._assumed.use("profile_spread", operation_id).expected


def _shape(operation: LLMOperation) -> str:
    data = operation.metadata
    return shape_of_request(
        model=data.model if data.provider is None else f"{data.provider}/{data.model_name}",
        prompt=operation.prompt,
        prompt_func=operation.prompt_func,
        output_schema=operation.output_schema,
        temperature=data.temperature,
        max_tokens=data.max_tokens,
        seed=data.seed,
    )


def _spread(numbers: Distribution, per: int = 1) -> Spread | None:
    if not numbers.count:
        return None
    return Spread(p50=numbers.quantile(0.5) / per, p90=numbers.quantile(0.9) / per, mean=round(numbers.mean / per, 4))


def _mean(counts: Iterable[int]) -> int | None:
    known = list(counts)
    return ceil(sum(known) / len(known)) if known else None


def _cached_share(runs: Sequence[OperationRun]) -> float | None:
    tokens = sum(run.input_tokens.total for run in runs)
    return min(1.0, sum(run.cached_tokens for run in runs) / tokens) if tokens else None
