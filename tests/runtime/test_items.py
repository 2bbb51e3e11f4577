import pytest
from hypothesis import given
from hypothesis import strategies as st

from xcs_airflow.errors import RuntimeTaskError
from xcs_airflow.ir.executor import Collected, join_keys
from xcs_airflow.manifest import shard_of
from xcs_airflow.runtime.items import Source, listed_source, rows


def source(name, items, shard=0, shards=1):
    """What the runtime reads for a list, or for a collection given by its keys."""
    if isinstance(items, list):
        return listed_source(name, items, shard, shards)
    own = [(key, item) for key, item in items.items() if shard_of(key, shards) == shard]
    return Source(name, lambda: iter(own), lambda: len(own), None)


def as_items(items):
    return {str(index): item for index, item in enumerate(items)} if isinstance(items, list) else items


def test_plain_lists_go_together_by_position():
    found = list(rows([source("a", ["x", "y"]), source("b", [1, 2])], "step"))
    assert found == [("0", {"a": "x", "b": 1}), ("1", {"a": "y", "b": 2})]


def test_the_smallest_collection_decides():
    kept = Collected({"1": "kept", "10": "kept too"})
    found = list(rows([source("all", list(range(12))), source("some", kept)], "step"))
    assert found == [("1", {"some": "kept", "all": 1}), ("10", {"some": "kept too", "all": 10})]


@pytest.mark.parametrize(
    ("first", "second"),
    [([1, 2], [1]), ({"0": 1, "3": 2}, [1, 2, 3]), ({"0/0": 1}, ["a", "b"]), ({"5": 1}, {"4": 1, "6": 1})],
)
def test_items_that_do_not_belong_together_are_refused(first, second):
    with pytest.raises(RuntimeTaskError, match="XCS610"):
        list(rows([source("a", first), source("b", second)], "step"))


def test_sources_are_read_to_their_end_because_only_there_damage_shows():
    ended = []

    def read():
        yield from (("0", "a"), ("1", "b"))
        ended.append(True)

    kept = Collected({"0": "kept"})
    assert len(list(rows([source("some", kept), Source("all", read, lambda: 2, None)], "step"))) == 1
    assert ended == [True]


KEYS = st.sets(st.integers(0, 14) | st.tuples(st.integers(0, 6), st.integers(0, 2)), max_size=10)


def collection(numbers):
    ordered = sorted(numbers, key=lambda key: key if isinstance(key, tuple) else (key,))
    return Collected({"/".join(map(str, key if isinstance(key, tuple) else (key,))): f"item {key}" for key in ordered})


COLLECTIONS = st.lists(st.integers(), max_size=8) | KEYS.map(collection)


@given(st.lists(COLLECTIONS, min_size=1, max_size=3))
def test_rows_are_those_of_the_reference_interpreter(collections):
    named = {f"input{index}": items for index, items in enumerate(collections)}
    try:
        keys = join_keys({name: as_items(items) for name, items in named.items()})
    except ValueError:
        keys = None
    try:
        found = dict(rows([source(name, items) for name, items in named.items()], "step"))
    except RuntimeTaskError:
        found = None
    expected = None if keys is None else {key: {name: as_items(items)[key] for name, items in named.items()} for key in keys}
    assert found == expected


@given(st.lists(st.integers(), max_size=20), st.data(), st.integers(1, 5))
def test_shards_share_the_rows_of_nested_collections_among_them(items, data, shards):
    kept = data.draw(st.sets(st.sampled_from(range(len(items)))) if items else st.just(set()))
    some = Collected({str(index): f"kept {index}" for index in sorted(kept)})
    whole = list(rows([source("all", items), source("some", some)], "step"))
    parts = [
        row
        for shard in range(shards)
        for row in rows([source(name, held, shard, shards) for name, held in (("all", items), ("some", some))], "step")
    ]
    assert sorted(parts, key=lambda row: int(row[0])) == whole
