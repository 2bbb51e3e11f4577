"""The longest ways through a graph: what is settled later, in whatever order, and that few questions cost much."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xcs_airflow.cost import choice
from xcs_airflow.cost.choice import Considered, choose
from xcs_airflow.cost.mechanisms import Option
from xcs_airflow.cost.ways import Ways, _Longest
from xcs_airflow.ir import LLMMetadata, LLMOperation, Message, Operation, PipelinePolicy, Prompt, Ref
from xcs_airflow.ir.graph import dependencies
from xcs_airflow.values import Hole

DAY_S = 86_400


class Measured:
    """The same, measured from the beginning whenever something is settled: slow, and easy to believe."""

    def __init__(self, ordered: Sequence[Operation], seconds: Mapping[str, float]) -> None:
        self._ordered = ordered
        self._needs = {operation.id: dependencies(operation) for operation in ordered}
        self._seconds = dict(seconds)
        self._measure()

    def through(self, names: Iterable[str], seconds: float) -> float:
        return max((self._before[name] + seconds + self._after[name] for name in names), default=0.0)

    def fits(self, name: str, seconds: float, limit_s: float) -> bool:
        return self.through([name], seconds) <= limit_s

    def settle(self, names: Iterable[str], seconds: float) -> None:
        self._seconds.update(dict.fromkeys(names, seconds))
        self._measure()

    def _measure(self) -> None:
        self._before = {}
        for operation in self._ordered:
            needs = self._needs[operation.id]
            self._before[operation.id] = max((self._before[need] + self._seconds[need] for need in needs), default=0.0)
        self._after = {operation.id: 0.0 for operation in self._ordered}
        for operation in reversed(self._ordered):
            behind = self._after[operation.id] + self._seconds[operation.id]
            for need in self._needs[operation.id]:
                self._after[need] = max(self._after[need], behind)


def call(name: str, needs: Iterable[str]) -> LLMOperation:
    inputs = {f"x{index}": Ref(operation=need) for index, need in enumerate(needs)}
    prompt = Prompt(messages=(Message(parts=("Team? ", *(Hole(input=hole) for hole in inputs))),))
    return LLMOperation(id=name, prompt=prompt, inputs=inputs, metadata=LLMMetadata(model="openai/gpt-4.1-mini"))


SECONDS = st.sampled_from([0.0, 0.1, 1.0, 2.5, 60.0, 3600.0, float(DAY_S)])


@st.composite
def wired(draw: st.DrawFn, most: int = 12) -> list[LLMOperation]:
    """Calls that read some of the calls before them."""
    calls: list[LLMOperation] = []
    for index in range(draw(st.integers(1, most))):
        names = [earlier.id for earlier in calls]
        calls.append(call(f"c{index}", draw(st.lists(st.sampled_from(names), unique=True, max_size=3)) if names else []))
    return calls


@given(st.data(), wired())
def test_whatever_is_settled_the_ways_are_those_that_are_measured_from_the_beginning(data, calls):
    seconds = {operation.id: data.draw(SECONDS) for operation in calls}
    ways, measured = Ways(calls, seconds), Measured(calls, seconds)
    names = st.sampled_from(sorted(seconds))
    for _ in range(data.draw(st.integers(1, 12))):
        some, worst, limit = data.draw(st.lists(names, max_size=3)), data.draw(SECONDS), data.draw(SECONDS) * 2
        ways.settle(some, worst)
        measured.settle(some, worst)
        one = data.draw(names)
        assert ways.fits(one, worst, limit) == measured.fits(one, worst, limit)
        if data.draw(st.booleans()):
            assert ways.through([one, *some], worst) == measured.through([one, *some], worst)


@given(st.data(), wired())
def test_what_is_chosen_is_what_was_chosen_the_slow_way(data, calls):
    usd = st.integers(0, 40).map(Decimal)

    def considered(operation: LLMOperation) -> Considered:
        live = Option("concurrent", data.draw(usd), data.draw(SECONDS), data.draw(SECONDS))
        packed = Option("packed", data.draw(usd), data.draw(SECONDS), data.draw(SECONDS))
        batch = Option("provider_batch", data.draw(usd), 3600.0, float(DAY_S))
        others = data.draw(st.lists(st.sampled_from([packed, batch]), unique=True))
        return Considered(operation, live, tuple(others), (), (data.draw(st.integers(0, 3)),))

    items = [considered(operation) for operation in calls]
    seconds = {operation.id: data.draw(SECONDS) for operation in calls}
    policy = PipelinePolicy(
        optimize=data.draw(st.sampled_from(["cost", "latency", "balanced"])),
        budget_usd=data.draw(st.none() | st.integers(0, 200).map(Decimal)),
        deadline_s=data.draw(st.none() | st.sampled_from([60.0, 90_000.0, 180_000.0, 400_000.0])),
    )
    quick = choose(items, calls, seconds, policy)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choice, "Ways", Measured)
        assert choose(items, calls, seconds, policy) == quick


def looks(count: int, *, in_a_row: bool, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many ends are looked at while so many calls are brought back to their budget."""
    calls = [call(f"c{index}", [f"c{index - 1}"] if in_a_row and index else []) for index in range(count)]
    calls.append(call("last", [operation.id for operation in calls][-1:] if in_a_row else [operation.id for operation in calls]))
    # Each would be packed or go through a batch, as its budget asks for; a few batches are all that a row of calls has time for.
    ways = (Option("packed", Decimal(4), 2.0, 2.0), Option("provider_batch", Decimal(5), 3600.0, float(DAY_S)))
    items = [
        Considered(operation, Option("concurrent", Decimal(10), 1.0, 1.0), ways, (), (index,)) for index, operation in enumerate(calls)
    ]
    policy = PipelinePolicy(optimize="latency", budget_usd=Decimal(count), deadline_s=2.5 * DAY_S)
    looked, original = [0], _Longest._end

    def counted(ways, name):
        looked[0] += 1
        return original(ways, name)

    monkeypatch.setattr(_Longest, "_end", counted)
    chosen = choose(items, calls, {operation.id: 1.0 for operation in calls}, policy)
    monkeypatch.setattr(_Longest, "_end", original)
    assert sum(found.option.mechanism != "concurrent" for found in chosen.values()) > count / 2
    return looked[0]


@pytest.mark.parametrize("in_a_row", [False, True], ids=["side by side", "in a row"])
def test_twice_as_many_calls_over_budget_take_about_twice_the_work(in_a_row, monkeypatch):
    few, many = (looks(count, in_a_row=in_a_row, monkeypatch=monkeypatch) for count in (200, 400))
    assert many < 2.5 * few


def test_the_longest_way_through_an_operation_grows_with_what_is_settled():
    chain = [Operation(id="a", func="a:b"), Operation(id="b", func="a:b", inputs={"x": Ref(operation="a")})]
    side = Operation(id="c", func="a:b")
    ways = Ways([*chain, side], {"a": 1, "b": 2, "c": 100})
    assert ways.through(["b"], 10) == 11
    ways.settle(["a"], 50)
    assert ways.through(["b"], 10) == 60
    assert ways.through(["c"], 10) == 10
