import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xcs_airflow.errors import RuntimeTaskError
from xcs_airflow.manifest import Manifest, Step, Task, shard_of
from xcs_airflow.runtime.results import Results, position, segment
from xcs_airflow.runtime.store import LocalStore
from xcs_airflow.values import Constant, Ref

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def manifest(shards=1, fingerprint="f1"):
    one = Step(id="one", func="m:f", fingerprint=fingerprint)
    many = Step(id="many", func="m:f", inputs={"x": Constant(constant=[])}, map_over=("x",), fingerprint=fingerprint)
    end = Step(id="end", func="m:f", inputs={"x": Ref(operation="many")}, fingerprint=fingerprint)
    tasks = (Task(id="one", steps=(one,)), Task(id="many", steps=(many,), shards=shards), Task(id="end", steps=(end,)))
    return Manifest(pipeline="p", graph_digest="", tasks=tasks)


def results(folder, shards=1, parameters=None, fingerprint="f1"):
    return Results(LocalStore(folder), manifest(shards, fingerprint), "run", {} if parameters is None else parameters)


def write(found, step, items, shard=0, form="collection"):
    with found.writer(step, shard, form) as writer:
        for key, value in items.items():
            writer.write(key, value)


def test_a_value_comes_back_as_it_was(tmp_path):
    found = results(tmp_path)
    assert found.commit_of("one") is None
    write(found, "one", {"0": {"b": 1, "a": [None, "é\ud800"]}}, form="value")
    assert json.dumps(found.whole("one")) == json.dumps({"b": 1, "a": [None, "é\ud800"]})
    assert found.form("one") == "value"


def test_nothing_is_committed_when_writing_fails(tmp_path):
    found = results(tmp_path)
    with pytest.raises(ValueError, match="Out of range"), found.writer("many", 0, "collection") as writer:
        writer.write("0", float("nan"))
    assert found.commit_of("many") is None
    assert list((tmp_path / ".partial").iterdir()) == []
    with pytest.raises(RuntimeTaskError, match="XCS602"):
        found.whole("many")


def test_another_definition_or_other_parameters_make_a_result_void(tmp_path):
    write(results(tmp_path, parameters={"n": 1}), "one", {"0": 1}, form="value")
    assert results(tmp_path, parameters={"n": 1}).commit_of("one") is not None
    assert results(tmp_path, parameters={"n": 2}).commit_of("one") is None
    assert results(tmp_path, parameters={"n": 1}, fingerprint="f2").commit_of("one") is None
    whatever = Results(LocalStore(tmp_path), manifest(), "run", None)
    assert whatever.whole("one") == 1


@pytest.mark.parametrize("damage", [lambda data: data[:-3], lambda data: data.replace(b"1", b"2"), lambda _: b"nonsense\n", lambda _: b""])
def test_damaged_data_is_refused(tmp_path, damage):
    found = results(tmp_path)
    write(found, "many", {"0": 1, "1": 11})
    path = next(tmp_path.rglob("*.jsonl"))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RuntimeTaskError, match="XCS608"):
        list(found.items("many", 0, 1))


def test_a_result_is_finished_only_when_its_data_is_what_was_committed(tmp_path):
    write(results(tmp_path), "many", {"0": 1, "1": 11})
    assert results(tmp_path).is_finished("many", 0)
    path = next(tmp_path.rglob("*.jsonl"))
    path.write_bytes(path.read_bytes().replace(b"11", b"12"))
    assert not results(tmp_path).is_finished("many", 0)
    path.unlink()
    assert not results(tmp_path).is_finished("many", 0)
    assert not results(tmp_path).is_finished("one", 0)


def test_what_was_skipped_is_finished(tmp_path):
    results(tmp_path).skip("one", 0)
    assert results(tmp_path).is_finished("one", 0)


def test_a_damaged_commit_is_no_commit(tmp_path):
    found = results(tmp_path)
    write(found, "one", {"0": 1}, form="value")
    path = next(tmp_path.rglob("0-of-1.json"))
    path.write_text('{"fingerprint": "f1"')
    assert results(tmp_path).commit_of("one") is None


def test_missing_data_is_refused(tmp_path):
    found = results(tmp_path)
    write(found, "one", {"0": 1}, form="value")
    next(tmp_path.rglob("*.jsonl")).unlink()
    with pytest.raises(RuntimeTaskError, match="XCS608"):
        found.whole("one")


def test_a_second_writer_replaces_the_first_one_whole(tmp_path):
    found = results(tmp_path)
    write(found, "many", {"0": "a"})
    write(found, "many", {"0": "b", "1": "c"})
    assert found.whole("many") == ["b", "c"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    values=st.lists(JSON, max_size=20),
    spread=st.booleans(),
    written=st.integers(1, 4),
    read=st.integers(1, 4),
    numbers=st.data(),
)
def test_however_it_is_written_every_reader_gets_its_items_in_order(tmp_path_factory, values, spread, written, read, numbers):
    keys = [f"{index}/{part}" if spread else str(index) for index in range(len(values)) for part in range(2 if spread else 1)]
    everything = {key: numbers.draw(st.sampled_from(values)) for key in keys}
    found = results(tmp_path_factory.mktemp("store"), shards=written)
    for shard in range(written):
        write(found, "many", {key: value for key, value in everything.items() if shard_of(key, written) == shard}, shard)
    for shard in range(read):
        expected = [(key, value) for key, value in everything.items() if shard_of(key, read) == shard]
        assert list(found.items("many", shard, read)) == expected
        assert found.count("many", shard, read) == len(expected)
    assert found.whole("many") == list(everything.values())


@given(st.text(), st.text())
def test_segments_are_safe_and_different_names_stay_different(name, other):
    quoted = segment(name)
    assert quoted not in ("", ".", "..")
    assert not set(quoted) & set("/\\\0")
    assert len(quoted) <= 120
    assert (segment(other) == quoted) == (other == name)


@pytest.mark.parametrize("name", ["..", ".", ".hidden", "a/b", "../../etc", "x" * 300, "é" * 100, "\ud800", "", "a\0b", "%2E", "C:\\x"])
def test_awkward_names_become_one_segment(tmp_path, name):
    assert (tmp_path / segment(name)).parent == tmp_path
    (tmp_path / segment(name)).mkdir()


def test_positions_are_compared_number_by_number():
    assert sorted(["10", "9", "2/11", "2/3", "2"], key=position) == ["2", "2/3", "2/11", "9", "10"]
