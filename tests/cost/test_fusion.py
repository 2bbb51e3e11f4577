"""What is started together: starts and minimums that are saved, against work that no longer runs side by side."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xcs_airflow.cost.compute import platforms, task_cost_usd
from xcs_airflow.cost.figures import Figure
from xcs_airflow.cost.fusion import Fusion, Piece
from xcs_airflow.ir import Resources

SMALL = Resources(cpu=0.25, memory_mib=512)


def pieces(*rows):
    """Pieces of (seconds, needs) and perhaps other fields."""
    made = []
    for seconds, needs, *others in rows:
        fields = others[0] if others else {}
        level = max((made[need].level + 1 for need in needs), default=0)
        known = {"chains": frozenset(needs), "kind": "k", "shards": 1, "resources": SMALL, "variables": {}}
        figure = seconds if isinstance(seconds, Figure) else Figure.exactly(seconds)
        made.append(Piece(**{**known, "needs": tuple(needs), "seconds": figure, "level": level, **fields}))
    return made


def fused(*rows, target="aws-batch", may_wait=True, most=32):
    units = Fusion(platforms()[target], pieces(*rows), may_wait, most).units()
    return sorted(sorted(unit.members) for unit in units)


def test_two_tasks_of_five_seconds_cost_one_minute_together_and_two_apart():
    """https://aws.amazon.com/fargate/pricing/: one minute at least for every task."""
    fusion = Fusion(platforms()["aws-batch"], pieces((5, ()), (5, ())), may_wait=True, most=32)
    minute = float(task_cost_usd(platforms()["aws-batch"], SMALL, 0).expected)
    assert fusion.bill(fusion.apart()).usd == pytest.approx(2 * minute)
    assert fusion.bill(fusion.units()).usd == pytest.approx(minute)


def test_a_chain_saves_the_start_of_every_task_but_the_first():
    fusion = Fusion(platforms()["aws-batch"], pieces((5, ()), (5, (0,)), (5, (1,))), may_wait=True, most=32)
    (unit,) = fusion.units()
    assert (unit.members, unit.ends_s, unit.gained_s) == ([0, 1, 2], 57 + 15, 2 * 57)


def test_lost_parallelism_beats_saved_starts():
    """Two tasks of 200 s side by side end 200 s earlier; one start for both saves 43 s of download."""
    assert fused((200, ()), (200, ())) == [[0], [1]]
    assert fused((40, ()), (40, ())) == [[0, 1]]


def test_who_prefers_latency_never_waits_for_a_sibling():
    assert fused((5, ()), (5, ()), may_wait=False) == [[0], [1]]
    assert fused((5, ()), (5, (0,)), may_wait=False) == [[0, 1]]


def test_short_siblings_find_each_other_beside_a_long_one():
    assert fused((5, ()), (900, ()), (5, ()), (5, (1,), {"kind": "other"})) == [[0, 2], [1], [3]]


def test_a_task_that_two_others_read_is_fused_only_with_both():
    assert fused((5, ()), (5, (0,)), (5, (0,))) == [[0, 1, 2]]
    assert fused((5, ()), (300, (0,)), (300, (0,))) == [[0], [1], [2]]


def test_a_diamond_of_small_tasks_is_one_start():
    assert fused((1, ()), (1, (0,)), (1, (0,)), (1, (1, 2))) == [[0, 1, 2, 3]]


def test_what_a_later_task_also_needs_is_not_waited_for():
    assert fused((5, (), {"kind": "other"}), (600, ()), (5, (0, 1))) == [[0], [1, 2]]
    assert fused((600, ()), (900, (), {"kind": "other"}), (5, (0, 1))) == [[0], [1], [2]]


def test_no_start_is_longer_than_the_platform_allows():
    """https://cloud.google.com/run/docs/configuring/task-timeout: 168 hours."""
    days = Figure(low=1, expected=5, high=400_000)
    assert fused((days, ()), (days, (0,)), target="cloud-run") == [[0], [1]]
    assert fused((days, ()), (5, (0,)), target="cloud-run") == [[0, 1]]


def test_a_small_task_does_not_use_the_size_of_a_large_one():
    large = {"resources": Resources(cpu=4, memory_mib=16384)}
    assert fused((5, (), large), (3000, (0,))) == [[0], [1]]
    assert fused((5, (), large), (5, (0,), large)) == [[0, 1]]


@pytest.mark.parametrize(
    "fields", [{"kind": "other"}, {"kind": None}, {"chains": frozenset()}, {"variables": {"A": "2"}}], ids=lambda fields: next(iter(fields))
)
def test_what_may_not_share_a_process_stays_apart(fields):
    assert fused((5, (), {"variables": {"A": "1"}}), (5, (0,), fields)) == [[0], [1]]


def test_a_start_holds_a_bounded_number_of_tasks():
    assert fused(*((1, ()) for _ in range(5)), most=2) == [[0, 1], [2, 3], [4]]


def test_where_nobody_knows_a_price_seconds_of_workers_decide():
    fusion = Fusion(platforms()["airflow"], pieces((1, ()), (1, ())), may_wait=True, most=32)
    assert fusion.bill(fusion.units()).usd is None
    assert fused((1, ()), (1, ()), target="airflow") == [[0, 1]]
    assert fused((3, ()), (3, ()), target="airflow") == [[0], [1]]


@st.composite
def graphs(draw):
    rows = []
    for place in range(draw(st.integers(1, 14))):
        needs = draw(st.lists(st.integers(0, place - 1), unique=True, max_size=3)) if place else []
        fields = {"kind": draw(st.sampled_from(["k", "k", "k", "other", None]))}
        if draw(st.booleans()):
            fields["resources"] = Resources(cpu=draw(st.sampled_from([1, 4])), memory_mib=4096)
        rows.append((draw(st.sampled_from([0, 1, 5, 40, 300, 3000])), sorted(needs), fields))
    return rows


@settings(max_examples=300, deadline=None)
@given(rows=graphs(), target=st.sampled_from(sorted(platforms())), may_wait=st.booleans())
def test_no_circle_no_higher_cost_and_no_later_end_without_leave(rows, target, may_wait):
    fusion = Fusion(platforms()[target], pieces(*rows), may_wait, 32)
    units, apart = fusion.units(), fusion.bill(fusion.apart())
    assert sorted(place for unit in units for place in unit.members) == list(range(len(rows)))
    unit_of = {place: number for number, unit in enumerate(units) for place in unit.members}
    waits = {number: {unit_of[need] for need in unit.needs} for number, unit in enumerate(units)}
    while waits:
        ready = [number for number, needs in waits.items() if not needs & set(waits)]
        assert ready, "units wait for each other in a circle"
        for number in ready:
            del waits[number]
    together = fusion.bill(units)
    if together.usd is not None:
        assert together.usd <= apart.usd * (1 + 1e-6)
    if not may_wait:
        assert together.seconds <= apart.seconds + 1e-6
