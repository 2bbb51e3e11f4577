import sqlite3
import stat
import subprocess
import sys
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xcs_airflow.errors import RuntimeTaskError
from xcs_airflow.runtime.cache import CachedAnswer, open_cache
from xcs_airflow.runtime.cache.memory import MemoryCache
from xcs_airflow.runtime.cache.object import ObjectCache
from xcs_airflow.runtime.cache.sqlite import SqliteCache, _file_system
from xcs_airflow.runtime.store import LocalStore

KEY = "ab" * 32
NOW = int(time.time())


def answer(text="billing", age_s=0):
    return CachedAnswer(text, 10, 2, "gpt", NOW - age_s)


def sqlite_cache(folder):
    return SqliteCache(folder / "deep" / "cache.sqlite")


def object_cache(folder):
    return ObjectCache(LocalStore(folder / "cache"))


MAKERS = {"sqlite": sqlite_cache, "objects": object_cache, "memory": lambda _: MemoryCache()}


@pytest.fixture(params=MAKERS)
def cache(request, tmp_path):
    made = MAKERS[request.param](tmp_path)
    yield made
    if hasattr(made, "close"):
        made.close()


def test_what_was_put_is_found_and_nothing_else(cache):
    assert cache.get_many([KEY]) == {}
    cache.put_many({KEY: answer(), "cd": answer("other\ud800")})
    assert cache.get_many([KEY, "cd", "ef"]) == {KEY: answer(), "cd": answer("other\ud800")}
    assert cache.get_many([]) == {}


def test_the_newest_answer_wins(cache):
    cache.put_many({KEY: answer("old", age_s=50)})
    cache.put_many({KEY: answer("new")})
    assert cache.get_many([KEY]) == {KEY: answer("new")}


def test_an_answer_is_good_for_as_long_as_the_reader_says(cache):
    cache.put_many({KEY: answer(age_s=100)})
    assert cache.get_many([KEY], ttl_s=60) == {}
    assert list(cache.get_many([KEY], ttl_s=1000)) == [KEY]
    assert list(cache.get_many([KEY])) == [KEY]


def test_thousands_of_answers_go_in_one_call(cache):
    answers = {f"{index:064x}": answer(str(index)) for index in range(2500)}
    cache.put_many(answers)
    assert cache.get_many(answers) == answers


@pytest.mark.parametrize("kind", ["sqlite", "objects"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(position=st.integers(0, 200), byte=st.characters(codec="ascii"))
def test_damage_is_a_miss_and_never_another_answer(tmp_path_factory, kind, position, byte):
    entry = answer().dump(KEY)
    position %= len(entry)
    damaged = entry[:position] + byte + entry[position + 1 :]
    folder = tmp_path_factory.mktemp("damage")
    cache = MAKERS[kind](folder)
    cache.put_many({KEY: answer()})
    if kind == "sqlite":
        with sqlite3.connect(folder / "deep" / "cache.sqlite") as connection:
            connection.execute("UPDATE answers SET answer = ?", (damaged,))
        connection.close()
    else:
        next((folder / "cache").rglob("*.json")).write_text(damaged)
    assert cache.get_many([KEY]) in ({}, {KEY: answer()})
    if kind == "sqlite":
        cache.close()


@pytest.mark.parametrize("data", ["", "[]", '["x"]', "null", "[" * 2000, '["0123456789abcdef",[1]]'])
def test_what_was_never_an_entry_is_a_miss(data):
    assert CachedAnswer.load(KEY, data) is None


def test_an_entry_under_another_key_is_a_miss():
    assert CachedAnswer.load("other", answer().dump(KEY)) is None


def test_the_file_and_what_lies_beside_it_are_for_their_owner_alone(tmp_path):
    cache = sqlite_cache(tmp_path)
    cache.put_many({KEY: answer()})
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "deep").iterdir()}
    assert modes.pop("cache.sqlite") == 0o600
    assert set(modes.values()) <= {0o600}
    assert stat.S_IMODE((tmp_path / "deep").stat().st_mode) == 0o700
    cache.close()


def test_a_file_that_is_no_database_is_an_error_that_says_so(tmp_path):
    (tmp_path / "cache.sqlite").write_text("not a database, but long enough to look like one" * 100)
    cache = SqliteCache(tmp_path / "cache.sqlite")
    with pytest.raises(RuntimeTaskError, match="XCS614") as caught:
        cache.get_many([KEY])
    assert not getattr(caught.value, "retryable", False)
    cache.close()


def test_a_locked_file_is_worth_another_try(tmp_path, monkeypatch):
    monkeypatch.setattr("xcs_airflow.runtime.cache.sqlite._BUSY_TIMEOUT_S", 0.01)
    cache = sqlite_cache(tmp_path)
    cache.put_many({KEY: answer()})
    other = sqlite3.connect(tmp_path / "deep" / "cache.sqlite")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(RuntimeTaskError, match="locked") as caught:
        cache.put_many({KEY: answer("new")})
    assert caught.value.retryable
    other.rollback()
    other.close()
    cache.close()


def test_processes_share_one_file(tmp_path):
    script = """
import sys, time
from pathlib import Path
from xcs_airflow.runtime.cache.sqlite import SqliteCache
from xcs_airflow.runtime.cache import CachedAnswer
cache = SqliteCache(Path(sys.argv[1]))
for index in range(50):
    cache.put_many({f"{sys.argv[2]}-{index}": CachedAnswer("x", 1, 1, None, int(time.time()))})
"""
    path = tmp_path / "cache.sqlite"
    writers = [subprocess.Popen([sys.executable, "-c", script, str(path), str(name)]) for name in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    cache = SqliteCache(path)
    assert len(cache.get_many(f"{name}-{index}" for name in range(3) for index in range(50))) == 150
    cache.close()


def test_addresses_open_their_kind_of_cache_once(tmp_path):
    address = f"sqlite:///{tmp_path}/cache.sqlite"
    assert isinstance(open_cache(address), SqliteCache)
    assert open_cache(address) is open_cache(address)
    assert isinstance(open_cache(f"file://{tmp_path}/cache"), ObjectCache)
    open_cache("off").put_many({KEY: answer()})
    assert open_cache("off").get_many([KEY]) == {}
    with pytest.raises(RuntimeTaskError, match="XCS614"):
        open_cache("redis://host")


def test_the_file_system_of_a_path_is_known_where_the_system_tells(tmp_path):
    assert _file_system(tmp_path) != "" or not sys.platform.startswith("linux")
