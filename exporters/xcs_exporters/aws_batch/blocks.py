"""A graph of tasks as nested blocks: what runs one after the other, and what runs side by side.

It knows order alone; it does not know Step Functions, whose states nest in the same way. Graphs that such nesting can say
exactly (series-parallel ones, which pipelines nearly always are) come out exactly. In any other, the tasks that nobody holds
back become a block of their own before the rest: no edge is lost, some tasks wait for more than their edges ask for. The same
happens beyond `MAX_NESTING`, so that no reader of the result meets a document of any depth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class InSeries:
    """Each part begins when the one before it has ended."""

    parts: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class SideBySide:
    """All parts begin at once; the block ends with the last of them."""

    parts: tuple[Block, ...]


MAX_NESTING = 10
"""Blocks side by side inside one another; each becomes four levels of JSON."""

Block: TypeAlias = str | InSeries | SideBySide
"""A task by its id, or blocks in one of two arrangements."""


def nest(needs: Mapping[str, Sequence[str]]) -> Block:
    """The blocks of a graph.

    Args:
        needs: Task to the tasks it waits for, every task after those.
    """
    return _nest(tuple(needs), needs, MAX_NESTING)


def waits(block: Block) -> int:
    """How many pairs of tasks a block keeps in order."""
    return _count(block)[1]


def waits_asked_for(needs: Mapping[str, Sequence[str]]) -> int:
    """How many pairs of tasks the edges of a graph keep in order, directly or not."""
    return sum(mask.bit_count() for mask in _ancestors(tuple(needs), needs))


def _count(block: Block) -> tuple[int, int]:
    """Tasks of a block, and pairs in order."""
    if isinstance(block, str):
        return 1, 0
    tasks, pairs = 0, 0
    for part in block.parts:
        own_tasks, own_pairs = _count(part)
        pairs += own_pairs + (tasks * own_tasks if isinstance(block, InSeries) else 0)
        tasks += own_tasks
    return tasks, pairs


def _nest(order: tuple[str, ...], needs: Mapping[str, Sequence[str]], levels_left: int) -> Block:
    if len(order) == 1:
        return order[0]
    components = _components(order, needs)
    if len(components) > 1 and levels_left:
        return SideBySide(tuple(_nest(part, needs, levels_left - 1) for part in components))
    stages = _stages(order, needs) if levels_left else _levels(order, needs)
    parts = tuple(_nest(part, needs, levels_left) if levels_left else _together(part) for part in stages)
    return InSeries(parts) if len(parts) > 1 else parts[0]


def _together(tasks: tuple[str, ...]) -> Block:
    return SideBySide(tasks) if len(tasks) > 1 else tasks[0]


def _levels(order: tuple[str, ...], needs: Mapping[str, Sequence[str]]) -> list[tuple[str, ...]]:
    """The tasks by the length of the longest path that leads to them."""
    level_of: dict[str, int] = {}
    for task in order:
        level_of[task] = max((level_of[need] + 1 for need in needs[task] if need in level_of), default=0)
    return [tuple(task for task in order if level_of[task] == level) for level in range(max(level_of.values()) + 1)]


def _components(order: tuple[str, ...], needs: Mapping[str, Sequence[str]]) -> list[tuple[str, ...]]:
    """The parts of a graph that no edge connects, in the order of their first tasks."""
    leader = {task: task for task in order}

    def find(task: str) -> str:
        while leader[task] != task:
            leader[task] = leader[leader[task]]
            task = leader[task]
        return task

    for task in order:
        for need in needs[task]:
            if need in leader:
                leader[find(need)] = find(task)
    members: dict[str, list[str]] = {}
    for task in order:
        members.setdefault(find(task), []).append(task)
    return [tuple(part) for part in members.values()]


def _stages(order: tuple[str, ...], needs: Mapping[str, Sequence[str]]) -> list[tuple[str, ...]]:
    """A connected graph cut into stages, each of which all later tasks wait for."""
    stages: list[tuple[str, ...]] = []
    while True:
        cuts = _cuts(order, needs)
        if cuts:
            ends = [*cuts, len(order)]
            return stages + [order[first:last] for first, last in zip([0, *cuts], ends, strict=True)]
        inside = set(order)
        first_ones = tuple(task for task in order if inside.isdisjoint(needs[task]))
        order = tuple(task for task in order if task not in set(first_ones))
        stages.append(first_ones)
        if len(_components(order, needs)) > 1:
            return [*stages, order]


def _cuts(order: tuple[str, ...], needs: Mapping[str, Sequence[str]]) -> list[int]:
    """The positions at which everything before must end before anything after begins."""
    ancestors = _ancestors(order, needs)
    shared_by_rest = (1 << len(order)) - 1
    cuts: list[int] = []
    for position in range(len(order) - 1, 0, -1):
        shared_by_rest &= ancestors[position]
        everything_before = (1 << position) - 1
        if shared_by_rest & everything_before == everything_before:
            cuts.append(position)
    return cuts[::-1]


def _ancestors(order: tuple[str, ...], needs: Mapping[str, Sequence[str]]) -> list[int]:
    """For every task the set of those it waits for, directly or not, as bits at their positions."""
    position_of = {task: position for position, task in enumerate(order)}
    masks: list[int] = []
    for task in order:
        mask = 0
        for need in needs[task]:
            position = position_of.get(need)
            if position is not None:
                mask |= masks[position] | (1 << position)
        masks.append(mask)
    return masks
