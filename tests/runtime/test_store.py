import errno
import os
import stat
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xcs_airflow.errors import RuntimeTaskError
from xcs_airflow.runtime.object_store import _ObjectAppender
from xcs_airflow.runtime.store import LocalStore, StoreUnavailableError, lines_of, open_store


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path / "store")


def test_what_was_put_is_there_and_what_was_not_is_not(store):
    store.put("runs/a/b.json", b"1")
    store.put("runs/a/b.json", b"2")
    assert store.get("runs/a/b.json") == b"2"
    assert b"".join(store.chunks("runs/a/b.json")) == b"2"
    assert store.get("runs/a/c.json") is None
    with pytest.raises(FileNotFoundError):
        list(store.chunks("runs/a/c.json"))


def test_names_are_listed_sorted_and_below_the_folder_only(store):
    for name in ("a/2", "a/1", "a/deep/3", "b/4"):
        store.put(name, b"")
    assert list(store.list("a")) == ["a/1", "a/2", "a/deep/3"]
    assert list(store.list("nothing")) == []


def test_folders_and_files_are_for_their_owner_alone(store, tmp_path):
    store.put("runs/a.json", b"")
    appender = store.appender("runs/log.jsonl")
    appender.close()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "store").rglob("*")}
    assert modes == {"runs": 0o700, ".partial": 0o700, "a.json": 0o600, "log.jsonl": 0o600}


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "", "a//b", ".", "a/.", "a\\..\\b", "a\0b"])
def test_no_name_leads_outside(store, name):
    with pytest.raises(ValueError, match="not a name in a store"):
        store.put(name, b"")
    with pytest.raises(ValueError, match="not a name in a store"):
        store.get(name)


def test_every_line_of_an_appender_is_kept_at_once(store):
    appender = store.appender("log.jsonl")
    appender.write(b"one")
    assert store.get("log.jsonl") == b"one\n"
    appender.write(b"two")
    assert appender.lines_per_flush == 1
    appender.close()
    assert list(lines_of(store.chunks("log.jsonl"))) == [b"one", b"two"]


def test_a_line_that_a_full_disk_tore_is_finished_once_there_is_room(store, monkeypatch):
    appender = store.appender("log.jsonl")
    appender.write(b"one")
    write, room = os.write, [4]

    def written(descriptor, data):
        taken, room[0] = data[: room[0]], room[0] - len(data[: room[0]])
        if not taken:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, taken)

    monkeypatch.setattr(os, "write", written)
    for line in (b"two two", b"three"):
        with pytest.raises(OSError, match="No space"):
            appender.write(line)
    assert store.get("log.jsonl") == b"one\ntwo "
    with pytest.raises(OSError, match="No space"):
        appender.flush()
    room[0] = 1000
    appender.close()
    assert store.get("log.jsonl") == b"one\ntwo two\nthree\n"


@pytest.mark.parametrize("is_lost", [True, False])
def test_a_part_that_may_have_been_kept_is_sent_again_as_it_was(is_lost):
    """Whether the store lost the part or only the word that it has it."""
    kept, failures = {}, [StoreUnavailableError.because("XCS608", reason="no answer")]

    class Store:
        def create(self, name, data):
            if failures:
                if not is_lost:
                    kept[name] = data
                raise failures.pop()
            assert kept.setdefault(name, data) == data

    appender = _ObjectAppender(Store(), "log/a.jsonl")
    appender.write(b"one")
    with pytest.raises(StoreUnavailableError):
        appender.flush()
    appender.write(b"two")
    appender.close()
    assert [kept[name] for name in sorted(kept)] == [b"one\n", b"two\n"]


def test_what_killed_writers_left_is_removed_after_a_week(tmp_path):
    folder = LocalStore(tmp_path).scratch()
    old, young = folder / "old", folder / "young"
    old.touch()
    young.touch()
    os.utime(old, (time.time() - 8 * 24 * 3600,) * 2)
    assert LocalStore(tmp_path).scratch() == folder
    assert not old.exists()
    assert young.exists()


def test_addresses_of_unknown_kinds_are_refused():
    with pytest.raises(RuntimeTaskError, match="XCS608"):
        open_store("ftp://host/x")


@given(st.lists(st.binary(max_size=20).filter(lambda line: b"\n" not in line), max_size=8), st.data())
def test_lines_do_not_depend_on_how_a_file_arrives(lines, data):
    content = b"".join(line + b"\n" for line in lines)
    chunks = []
    while content:
        size = data.draw(st.integers(1, len(content)))
        chunks.append(content[:size])
        content = content[size:]
    assert list(lines_of(iter(chunks))) == lines
