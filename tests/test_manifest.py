"""Tasks, and how items are spread over shards."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from xcs_airflow.manifest import Manifest, Step, Task, shard_of


@given(st.integers(0, 10**6), st.integers(0, 99), st.integers(1, 64))
def test_what_an_item_spreads_into_stays_in_its_shard(position, child, shards):
    assert shard_of(f"{position}/{child}/0", shards) == shard_of(str(position), shards)


@given(st.integers(1, 64))
def test_shards_are_in_range(shards):
    assert {shard_of(str(key), shards) for key in range(200)} <= set(range(shards))


def test_items_spread_evenly():
    counts = Counter(shard_of(str(key), 8) for key in range(8000))
    assert min(counts.values()) > 850


def test_the_shard_of_an_item_never_changes_between_releases():
    assert [shard_of(str(key), 10) for key in range(8)] == [0, 3, 6, 3, 4, 3, 9, 0]


def test_the_json_form_keeps_the_version_and_round_trips():
    manifest = Manifest(pipeline="p", graph_digest="d", tasks=(Task(id="t", steps=(Step(id="s", func="m:f", fingerprint="x"),)),))
    assert manifest.to_dict()["schema_version"] == 1
    assert Manifest.model_validate(manifest.to_dict()) == manifest
    assert manifest.task_of_step["s"] is manifest.task_by_id["t"]
