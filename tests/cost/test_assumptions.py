"""What is guessed is dated, has a source, and is said once."""

from __future__ import annotations

from xcs_airflow.cost.assumptions import Assumed, rows


def test_every_row_is_an_ordered_range_with_a_source():
    for row in rows().values():
        assert row.low <= row.expected <= row.high
        assert row.source
        assert row.sentence("").startswith(row.says[:10])


def test_an_assumption_is_said_once_with_all_who_rely_on_it():
    assumed = Assumed()
    for name in ("a", "b", "a", "c", "d"):
        assumed.use("filter_selectivity", name)
    assumed.use("task_start")
    first, second = assumed.sentences()
    assert first.startswith("a filter is expected to keep 50% of its items; declare items to replace this: %a, %b, %c and 1 more [")
    assert second.startswith("the time a platform needs to start tasks is not part of any duration [")
