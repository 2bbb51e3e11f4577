"""Random well-formed graphs: chains, maps, filters, flat maps, conditions and duplicates, of pure and impure operations."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from xcs_airflow.ir import (
    Constant,
    Graph,
    ListOf,
    LLMOperation,
    Operation,
    Parameter,
    ParameterSpec,
    PipelinePolicy,
    RecordOf,
    Ref,
    Resources,
)

from .toys import llm, plain

TICKETS = ["late", "broken", "late", "odd"]


@dataclass
class _Written:
    """The operations so far, and which of their results are what."""

    operations: list[Operation] = field(default_factory=list)
    lists: list[Any] = field(default_factory=lambda: [Parameter(parameter="tickets"), Constant(constant=["a", "b", "a"])])
    scalars: list[str] = field(default_factory=list)
    pairs: list[tuple[Any, str]] = field(default_factory=list)


@st.composite
def graphs(draw: st.DrawFn, max_operations: int = 12) -> Graph:
    """A graph of toy functions and fake model calls; many of its operations are equal but for their names."""
    written = _Written()
    for index in range(draw(st.integers(1, max_operations))):
        written.operations.append(
            draw(st.sampled_from([_source, _join, _mapped, _mapped, _mapped, _paired, _asked]))(draw, f"op{index}", written)
        )
    ids = [operation.id for operation in written.operations]
    shown = draw(st.lists(st.sampled_from(ids), unique=True, max_size=3))
    return Graph(
        written.operations,
        name="random",
        parameters=[ParameterSpec(name="tickets", has_default=True, default=TICKETS)],
        output=draw(st.sampled_from([None, RecordOf(fields={name: Ref(operation=name) for name in shown})])),
        policy=PipelinePolicy(optimize=draw(st.sampled_from(["cost", "latency"]))),
    )


def _source(draw: st.DrawFn, name: str, written: _Written) -> Operation:
    written.lists.append(Ref(operation=name))
    n = draw(st.integers(1, 3))
    items = {1: None, 2: 4, 3: 5000}[n]  # equal calls come with equal guesses
    return plain(name, "words", n=n, pure=draw(st.booleans()), items=items, distinct_items=items and 2)


def _join(draw: st.DrawFn, name: str, written: _Written) -> Operation:
    parts = tuple(draw(st.lists(st.sampled_from(written.lists), min_size=1, max_size=2)))
    operation = plain(name, "join", x=ListOf(items=parts), pure=draw(st.booleans()), when=_condition(draw, written))
    written.scalars.append(name)
    return operation


def _mapped(draw: st.DrawFn, name: str, written: _Written) -> Operation:
    source = draw(st.sampled_from(written.lists))
    collect = draw(st.sampled_from(["map", "map", "filter", "flat_map"]))
    when = _condition(draw, written)
    if draw(st.booleans()):
        operation: Operation = llm(name, each=source, collect=collect, when=when, **_call(draw))
    else:
        func = {"map": "upper", "filter": "is_even", "flat_map": "split"}[collect]
        operation = plain(name, func, each=source, collect=collect, when=when, pure=draw(st.booleans()))
    written.lists.append(Ref(operation=name))
    if collect != "flat_map":
        written.pairs.append((source, name))
    return operation


def _paired(draw: st.DrawFn, name: str, written: _Written) -> Operation:
    """Maps over a list and over what was mapped or filtered from it, together."""
    if not written.pairs:
        return _mapped(draw, name, written)
    source, mapped = draw(st.sampled_from(written.pairs))
    if not isinstance(source, Ref):
        return _mapped(draw, name, written)
    written.lists.append(Ref(operation=name))
    operation = plain(name, "upper", x=source, y=mapped, pure=draw(st.booleans()))
    return operation.model_copy(update={"map_over": ("x", "y")})


def _asked(draw: st.DrawFn, name: str, written: _Written) -> Operation:
    """One call about a whole list or about one value."""
    of = draw(st.sampled_from([*written.lists, *(Ref(operation=scalar) for scalar in written.scalars)]))
    operation = llm(name, x=of, when=_condition(draw, written), **_call(draw))
    written.scalars.append(name)
    return operation


def _copied(draw: st.DrawFn, name: str, written: _Written) -> Operation:
    """An operation like an earlier one, but for its name and perhaps one thing more."""
    if not written.operations:
        return _source(draw, name, written)
    original = draw(st.sampled_from(written.operations))
    changes: list[dict[str, Any]] = [{}, {}, {}, {"description": "again"}, {"when": _condition(draw, written)}]
    if isinstance(original, LLMOperation):
        changes.append({"metadata": original.metadata.model_copy(update={"max_tokens": 9})})
        changes += [{"collect": "filter"}, {"collect": "flat_map"}] if original.is_mapped else []
    copy = original.model_copy(update={"id": name, **draw(st.sampled_from(changes))})
    if copy.is_mapped or Ref(operation=original.id) in written.lists:
        written.lists.append(Ref(operation=name))
    else:
        written.scalars.append(name)
    return copy


def _condition(draw: st.DrawFn, written: _Written) -> Any:
    always, never = Constant(constant=True), Constant(constant=False)
    return draw(st.sampled_from([None, None, None, None, always, never, *(Ref(operation=name) for name in written.scalars)]))


def _call(draw: st.DrawFn) -> dict[str, Any]:
    fields = [
        {"temperature": 0},
        {"temperature": 0, "max_tokens": 8},
        {"seed": 1, "batchable": False},
        {"temperature": 0.7},
        {"cacheable": False, "temperature": 0},
        {"temperature": 0, "prompt_func": "toys:ask_about"},
        {"temperature": 0, "secrets": {"OPENAI_API_KEY": "key"}},
        {"temperature": 0, "estimated_latency_s": 3.0},
        {"temperature": 0, "resources": Resources(cpu=4, memory_mib=16384)},
    ]
    model = draw(st.sampled_from(["openai/gpt-4.1-mini", "anthropic/claude-haiku-4-5", "nobody/knows"]))
    return {"text": draw(st.sampled_from(["Which team? ", "Sum up: "])), "model": model, **draw(st.sampled_from(fields))}
