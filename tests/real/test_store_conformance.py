"""What every store promises, wherever it lies: a folder, moto's S3, and an emulator of Cloud Storage."""

import threading
import time

import pytest

from xcs_airflow.runtime.store import lines_of, open_store, segment_of

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Makes empty folders; nothing has to be set."""
    return {}, lambda: tmp_path_factory.mktemp("store").as_posix()


@pytest.fixture(params=["folders", "s3", "gcs"])
def opened(request, monkeypatch):
    """Opens the same new place as often as it is called."""
    environment, make = request.getfixturevalue(request.param)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    address = make()
    return lambda: open_store(address)


@pytest.fixture
def store(opened):
    return opened()


def test_what_was_put_is_there_and_what_was_not_is_not(store, opened):
    store.put("a/b.json", b"1")
    store.put("a/b.json", b"2")
    assert store.get("a/b.json") == opened().get("a/b.json") == b"2"
    assert b"".join(store.chunks("a/b.json")) == b"2"
    assert store.get("a/c.json") is None
    assert store.get("nothing/at/all") is None
    with pytest.raises(FileNotFoundError):
        list(store.chunks("a/c.json"))


@pytest.mark.parametrize("name", ["../b.json", "", "a//b", "a/../b", "/a"])
def test_no_name_leads_outside(store, name):
    for act in (lambda: store.put(name, b""), lambda: store.get(name), lambda: store.delete(name), lambda: store.create(name, b"")):
        with pytest.raises(ValueError, match="not a name in a store"):
            act()


@pytest.mark.parametrize("data", [b"", b"\0\xff\r\n", b"x" * 300_000], ids=["empty", "binary", "long"])
def test_bytes_come_back_as_they_were(store, data):
    store.put("put", data)
    assert store.create("created", data)
    assert store.get("put") == store.get("created") == b"".join(store.chunks("put")) == data


@pytest.mark.parametrize("name", ["a b/ü.json", "a%2Fb", "a+b/c=d", "~x/$y", "a/b.000001.jsonl"])
def test_names_are_any_words(store, name):
    store.put(f"in/{name}", name.encode())
    assert store.get(f"in/{name}") == name.encode()
    assert list(store.list("in")) == [f"in/{name}"]


def test_only_the_first_creates(store, opened):
    assert store.create("x/lock", b"first")
    assert not opened().create("x/lock", b"second")
    assert store.get("x/lock") == b"first"


def test_who_creates_again_what_is_theirs_has_won(store):
    """The word that it was written may be lost on its way, and then it is written again."""
    store.create("x/lock", b"first")
    is_bucket = not hasattr(store, "_root")
    assert store.create("x/lock", b"first") == is_bucket


def test_of_many_creators_one_wins(opened):
    won = run_side_by_side(8, lambda index: opened().create("lock", f"writer {index}".encode()))
    assert sorted(won) == [False] * 7 + [True]
    assert opened().get("lock") == f"writer {won.index(True)}".encode()


def test_what_is_replaced_is_what_was_read(store, opened):
    assert store.load("doc") is None
    store.create("doc", b"0")
    data, version = store.load("doc")
    assert data == b"0"
    assert store.replace("doc", b"1", version)
    assert not opened().replace("doc", b"2", version)
    data, newer = opened().load("doc")
    assert data == b"1"
    assert store.replace("doc", b"3", newer)
    assert store.get("doc") == b"3"


def test_what_is_gone_is_not_replaced(store):
    store.create("doc", b"0")
    _, version = store.load("doc")
    store.delete("doc")
    assert not store.replace("doc", b"1", version)
    assert store.get("doc") is None
    assert store.create("doc", b"again")


def test_no_replacement_is_lost(opened):
    """Many add one to a number, each until its own write wins. Writers that compete write different bytes."""
    opened().create("sum", b"0 nobody")

    def add(writer):
        store = opened()
        for _ in range(5):
            while True:
                data, version = store.load("sum")
                if store.replace("sum", b"%d writer %d" % (int(data.split()[0]) + 1, writer), version):
                    break

    run_side_by_side(4, add)
    assert opened().get("sum").startswith(b"20 ")


def test_what_was_deleted_is_gone_and_deleting_again_is_nothing(store):
    store.put("a/b", b"")
    store.delete("a/b")
    store.delete("a/b")
    assert store.get("a/b") is None
    assert list(store.list("a")) == []


def test_names_are_listed_sorted_and_below_the_folder_only(store):
    for name in ("a/2", "a/1", "a/deep/er/3", "ab/4", "a.b/5"):
        store.put(name, b"")
    store.create("a/created", b"")
    assert list(store.list("a")) == ["a/1", "a/2", "a/created", "a/deep/er/3"]
    assert list(store.list("a/deep")) == ["a/deep/er/3"]
    assert list(store.list("nothing")) == []


def test_entries_say_when_they_changed(store):
    begun = time.time()
    store.put("a/1", b"")
    (entry,) = store.entries("a")
    assert entry.name == "a/1"
    assert begun - 2 <= entry.changed <= time.time() + 2


def test_more_names_than_fit_on_a_page_are_listed(store):
    names = [f"many/{index:04}" for index in range(1050)]
    run_side_by_side(8, lambda part: [store.put(name, b"") for name in names[part::8]])
    assert list(store.list("many")) == names


def test_a_file_is_moved_and_replaces_what_was_there(store):
    store.put("large", b"old")
    path = store.scratch() / "large.jsonl"
    path.write_bytes(b"0123456789\n" * 1_200_000)
    store.put_file("large", path)
    assert not path.exists()
    chunks = [len(chunk) for chunk in store.chunks("large")]
    assert sum(chunks) == 13_200_000
    assert len(chunks) > 1
    assert sum(1 for _ in lines_of(store.chunks("large"))) == 1_200_000


def test_lines_are_kept_by_the_flush_and_in_their_order(store, opened):
    appender = store.appender("log/a.jsonl")
    appender.write(b"one", b"two")
    appender.flush()
    assert lines(opened(), "log") == [b"one", b"two"]
    appender.flush()
    for index in range(300):
        appender.write(str(index).encode())
        if index % 100 == 0:
            appender.flush()
    appender.close()
    assert lines(opened(), "log") == [b"one", b"two", *(str(index).encode() for index in range(300))]
    assert {segment_of(name) for name in opened().list("log")} == {"log/a.jsonl"}


def test_an_appender_that_wrote_nothing_leaves_nothing_to_read(store):
    store.appender("log/a.jsonl").close()
    assert lines(store, "log") == []


def lines(store, folder):
    return [line for name in store.list(folder) for line in lines_of(store.chunks(name))]


def run_side_by_side(count, act):
    """Do something in several threads at once; gives the results in order."""
    results, errors = {}, []
    together = threading.Barrier(count)

    def work(index):
        try:
            together.wait(20)
            results[index] = act(index)
        except BaseException as error:  # noqa: BLE001  # it is raised again below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return [results[index] for index in range(count)]
