"""The SQLite cache as a file: what it survives, how it is recognised, how large it becomes."""

import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xcs_airflow.errors import RuntimeTaskError
from xcs_airflow.runtime.cache import sqlite as sqlite_module
from xcs_airflow.runtime.cache import sqlite_file
from xcs_airflow.runtime.cache.sqlite import SqliteCache
from xcs_airflow.runtime.cache.sqlite_file import file_system

from .places import SqlitePlace, answer, key

A, B = key(1), key(2)


def query(path, statement, *values):
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement, values).fetchall()


def set_aside(path):
    return sorted(other.name for other in path.parent.glob(f"{path.name}.set-aside-*") if not other.name.endswith(("-wal", "-shm")))


def test_a_new_file_is_synced_like_any_other_once_it_is_made(sqlite_place):
    normal = 1
    for _ in range(2):
        cache = sqlite_place.open()
        assert cache._file.connection.execute("PRAGMA synchronous").fetchone() == (normal,)
        cache.close()


def test_the_file_and_what_lies_beside_it_are_for_their_owner_alone(sqlite_place):
    cache = sqlite_place.open()
    cache.put_many({A: answer()})
    claims = cache.claims()
    claims.take([B])
    folder = sqlite_place.path.parent
    for path in [folder, *folder.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    claims.close()


def test_what_is_no_database_is_set_aside(sqlite_place, caplog):
    path = sqlite_place.path
    path.parent.mkdir()
    path.write_text("not a database, but long enough to look like one" * 100)
    cache = sqlite_place.open()
    assert cache.get_many([A]) == {}
    (aside,) = set_aside(path)
    assert (path.parent / aside).read_text().startswith("not a database")
    assert "XCS619" in caplog.text
    assert aside in caplog.text
    cache.put_many({A: answer()})
    assert cache.get_many([A]) == {A: answer()}


@pytest.mark.parametrize(("version", "word"), [(1, "older"), (99, "newer")])
def test_a_file_of_another_version_is_set_aside(sqlite_place, caplog, version, word):
    cache = sqlite_place.open()
    cache.put_many({A: answer()})
    cache.close()
    query(sqlite_place.path, f"PRAGMA user_version = {version}")
    assert sqlite_place.open().get_many([A]) == {}
    (aside,) = set_aside(sqlite_place.path)
    assert query(sqlite_place.path.with_name(aside), "SELECT count(*) FROM answers") == [(1,)]
    assert f"is of {'an' if word == 'older' else 'a'} {word} version" in caplog.text


def test_a_file_of_the_first_version_is_set_aside(sqlite_place):
    sqlite_place.path.parent.mkdir()
    query(sqlite_place.path, "CREATE TABLE answers (key TEXT PRIMARY KEY, answer TEXT NOT NULL)")
    assert sqlite_place.open().get_many([A]) == {}
    assert len(set_aside(sqlite_place.path)) == 1


@pytest.mark.parametrize("at", [18, 19])
def test_a_file_that_says_it_is_of_a_later_format_is_set_aside(sqlite_place, at):
    cache = sqlite_place.open()
    cache.put_many({A: answer()})
    cache.close()
    damaged = bytearray(sqlite_place.path.read_bytes())
    damaged[at] = 3
    sqlite_place.path.write_bytes(damaged)
    cache = sqlite_place.open()
    assert cache.get_many([A]) == {}
    cache.put_many({A: answer()})
    assert cache.get_many([A]) == {A: answer()}
    assert len(set_aside(sqlite_place.path)) == 1


@pytest.mark.parametrize("statement", ["CREATE TABLE accounts (name)", "PRAGMA application_id = 7", "PRAGMA user_version = 2"])
def test_a_database_of_another_program_is_left_alone(sqlite_place, statement):
    sqlite_place.path.parent.mkdir()
    query(sqlite_place.path, statement)
    before = sqlite_place.path.read_bytes()
    with pytest.raises(RuntimeTaskError, match="is a database of another program") as caught:
        sqlite_place.open().get_many([A])
    assert not getattr(caught.value, "retryable", False)
    assert sqlite_place.path.read_bytes() == before
    assert set_aside(sqlite_place.path) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(data=st.data())
def test_bytes_damaged_anywhere_are_misses_and_never_other_answers(tmp_path_factory, data):
    place = SqlitePlace(tmp_path_factory.mktemp("damage"))
    answers = {key(index): answer(f"{index} " * 300) for index in range(60)}
    cache = place.open()
    cache.put_many(answers)
    cache.close()
    damaged = bytearray(place.path.read_bytes())
    start = data.draw(st.integers(0, len(damaged) - 1))
    junk = data.draw(st.binary(min_size=1, max_size=5000))
    damaged[start : start + len(junk)] = junk
    place.path.write_bytes(damaged[: data.draw(st.sampled_from([len(damaged), len(damaged) // 2, 3000]))])
    is_out_of_order = has_an_index_out_of_order(place.path, tmp_path_factory.mktemp("copy") / "cache.sqlite")
    try:
        cache = place.open()
        try:
            found = cache.get_many(answers)
        except RuntimeTaskError as error:
            # The damage hit the very numbers that say whose file it is.
            if "another program" not in str(error):
                raise
            return
        assert found.items() <= answers.items()
        assert dict(cache.entries()).items() <= answers.items()
        cache.put_many(answers)
        found = cache.get_many(answers)
        assert found.items() <= answers.items()
        # Where a key in the index was damaged, SQLite may look for its neighbours in the wrong place.
        assert found == answers or is_out_of_order
    finally:
        place.close()


def has_an_index_out_of_order(path, copy):
    """Whether SQLite says so of a file; it looks at all of it, which takes too long for every start."""
    shutil.copy(path, copy)
    try:
        with closing(sqlite3.connect(copy)) as connection:
            found = connection.execute("PRAGMA integrity_check").fetchall()
    except (sqlite3.Error, UnicodeDecodeError):
        return False
    return any("index" in line for (line,) in found)


@pytest.mark.parametrize("word", [b"tenants", b"answers", b"recipes", b"claims", b"CREATE TABLE", b"used_hour"])
def test_names_of_tables_that_are_no_text_are_damage(sqlite_place, word):
    cache = sqlite_place.open()
    cache.put_many({A: answer()})
    cache.close()
    damaged = sqlite_place.path.read_bytes().replace(word, b"\x80" + word[1:])
    sqlite_place.path.write_bytes(damaged)
    cache = sqlite_place.open()
    assert cache.get_many([A]).items() <= {A: answer()}.items()
    cache.put_many({A: answer()})
    assert cache.get_many([A]) == {A: answer()}


def test_a_format_that_nobody_writes_is_damage(sqlite_place):
    cache = sqlite_place.open()
    cache.put_many({A: answer()})
    cache.close()
    with sqlite_place.path.open("r+b") as file:
        file.seek(44)  # of the schema, in the header (sqlite.org/fileformat.html)
        file.write((5).to_bytes(4, "big"))
    assert sqlite_place.open().get_many([A]) == {}


def test_a_key_that_is_no_text_is_a_miss_and_costs_no_other_answer(sqlite_place):
    keys = [key(index) for index in range(9)]
    cache = sqlite_place.open()
    cache.put_many({name: answer() for name in keys})
    cache.close()
    with closing(sqlite3.connect(sqlite_place.path)) as connection, connection:
        connection.execute("UPDATE answers SET key = CAST(x'80' || substr(CAST(key AS BLOB), 2) AS TEXT) WHERE key = ?", (keys[0],))
    cache = sqlite_place.open()
    assert dict(cache.entries()).keys() == set(keys[1:])
    assert cache.get_many(keys).keys() == set(keys[1:])
    assert set_aside(sqlite_place.path) == []


def test_damage_found_by_several_at_once_costs_the_file_once(sqlite_place):
    caches = [sqlite_place.open() for _ in range(4)]
    caches[0].put_many({key(index): answer("x" * 500) for index in range(200)})
    for cache in caches:
        cache.get_many([A])
        cache.close()
    with sqlite_place.path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096 * 8)
    found = []
    threads = [threading.Thread(target=lambda cache=cache: found.append(cache.get_many([A]))) for cache in caches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set_aside(sqlite_place.path)) == 1


def test_a_damaged_file_that_others_have_open_is_left_where_it_is(sqlite_place, monkeypatch):
    monkeypatch.setattr(sqlite_file, "_PATIENCE_S", 0.1)
    other = sqlite_place.open()
    other.put_many({A: answer()})
    query(sqlite_place.path, "PRAGMA user_version = 99")
    with pytest.raises(RuntimeTaskError, match="other processes have it open") as caught:
        sqlite_place.open().get_many([A])
    assert caught.value.retryable
    assert set_aside(sqlite_place.path) == []


def test_a_locked_file_is_worth_another_try(sqlite_place, monkeypatch):
    monkeypatch.setattr(sqlite_file, "_BUSY_TIMEOUT_S", 0.01)
    cache = sqlite_place.open()
    cache.put_many({A: answer()})
    with closing(sqlite3.connect(sqlite_place.path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(RuntimeTaskError, match="locked") as caught:
            cache.put_many({A: answer("new")})
        assert caught.value.retryable
        other.rollback()
    cache.put_many({A: answer("new")})
    assert cache.get_many([A]) == {A: answer("new")}


def test_a_folder_in_the_place_of_the_file_is_an_error_that_says_so(tmp_path):
    with pytest.raises(RuntimeTaskError, match="XCS614"):
        SqliteCache(tmp_path).get_many([A])


WRITER = """
import sys, time
from pathlib import Path
from xcs_airflow.runtime.cache.sqlite import SqliteCache
from xcs_airflow.runtime.cache import CachedAnswer
cache = SqliteCache(Path(sys.argv[1]))
for index in range(int(sys.argv[3])):
    cache.put_many({f"{sys.argv[2]}-{index}": CachedAnswer("x" * 1000, 1, 1, None, int(time.time()))})
    print(index, flush=True)
"""


def test_processes_share_one_file(tmp_path):
    path = tmp_path / "cache.sqlite"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, path, name, "50"], stdout=subprocess.DEVNULL) for name in "abc"]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    with closing(SqliteCache(path)) as cache:
        assert len(cache.get_many(f"{name}-{index}" for name in "abc" for index in range(50))) == 150


def test_what_was_put_survives_the_sudden_death_of_its_process(tmp_path):
    path = tmp_path / "cache.sqlite"
    with subprocess.Popen([sys.executable, "-c", WRITER, path, "a", "100000"], stdout=subprocess.PIPE, text=True) as writer:
        lines = [writer.stdout.readline() for _ in range(100)]
        writer.send_signal(signal.SIGKILL)
        lines += writer.stdout.readlines()
    put = [f"a-{line.strip()}" for line in lines if line.endswith("\n")]
    with closing(SqliteCache(path)) as cache:
        assert len(put) >= 100
        assert cache.get_many(put).keys() == set(put)


def test_a_file_grows_to_its_limit_and_what_was_used_last_stays(sqlite_place, monkeypatch):
    limit = 400_000
    cache = sqlite_place.open(max_bytes=limit)
    now = time.time()
    monkeypatch.setattr(sqlite_module.time, "time", lambda: now)
    for batch in range(40):
        now += 3600
        cache.put_many({key(batch * 100 + index): answer("x" * 300) for index in range(100)})
        assert cache.get_many([key(7)])  # used again and again
    assert sqlite_place.path.stat().st_size < 1.5 * limit
    kept = list(cache.keys())
    assert key(7) in kept
    assert key(8) not in kept
    assert key(3999) in kept
    assert 300 < len(kept) < 1000


def test_a_purged_file_is_a_small_file(sqlite_place):
    cache = sqlite_place.open()
    answers = {key(index): answer("x" * 1000) for index in range(2000)}
    cache.put_many(answers)
    cache.remove([])
    before = sqlite_place.path.stat().st_size
    assert before > 2_000_000
    assert cache.remove(answers) == 2000
    assert sqlite_place.path.stat().st_size < before / 20


def test_reading_writes_nothing_within_an_hour(sqlite_place, monkeypatch):
    cache = sqlite_place.open()
    monkeypatch.setattr(sqlite_module.time, "time", lambda: 3_600_000)
    cache.put_many({A: answer()})
    cache.get_many([A])
    assert cache._touched == set()
    monkeypatch.setattr(sqlite_module.time, "time", lambda: 3_603_601)
    cache.get_many([A])
    assert query(sqlite_place.path, "SELECT used_hour FROM answers") == [(1000,)]
    cache.close()
    assert query(sqlite_place.path, "SELECT used_hour FROM answers") == [(1001,)]


def test_threads_share_one_cache(sqlite_place):
    cache = sqlite_place.open()
    errors = []

    def work(name):
        try:
            for index in range(30):
                mine = key(index, name)
                cache.put_many({mine: answer(mine)})
                assert cache.get_many([mine]) == {mine: answer(mine)}
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(list(cache.keys())) == 120


def test_the_file_system_of_a_path_is_known_where_the_system_tells(tmp_path):
    assert file_system(tmp_path) != "" or not sys.platform.startswith("linux")


def test_a_folder_that_cannot_be_made_is_an_error_that_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RuntimeTaskError, match="XCS614"):
        SqliteCache(tmp_path / "file" / "cache.sqlite").get_many([A])
