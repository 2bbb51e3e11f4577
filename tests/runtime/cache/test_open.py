"""Addresses, and the cache each of them opens; and single objects as far as they go."""

import pytest

from xcs_airflow.errors import RuntimeTaskError
from xcs_airflow.runtime.cache import CachedAnswer, open_cache
from xcs_airflow.runtime.cache.object import ObjectCache
from xcs_airflow.runtime.cache.sqlite import SqliteCache
from xcs_airflow.runtime.store import LocalStore

from .places import answer, key

A, B = key(1), key(2)


def test_addresses_open_their_kind_of_cache_once(tmp_path):
    address = f"sqlite:///{tmp_path}/cache.sqlite"
    assert isinstance(open_cache(address), SqliteCache)
    assert open_cache(address) is open_cache(address)
    assert open_cache(address, "other") is not open_cache(address)
    assert isinstance(open_cache(f"file://{tmp_path}/cache"), ObjectCache)
    open_cache("off").put_many({A: answer()})
    assert open_cache("off").get_many([A]) == {}
    with pytest.raises(RuntimeTaskError, match="XCS614"):
        open_cache("redis://host")


def test_an_object_that_is_damaged_is_a_miss(tmp_path):
    cache = ObjectCache(LocalStore(tmp_path))
    cache.put_many({A: answer(), B: answer("other\ud800", model=None)})
    assert cache.get_many([A, B]) == {A: answer(), B: answer("other\ud800", model=None)}
    (path,) = tmp_path.rglob(f"{A}*")
    path.write_bytes(path.read_bytes().replace(b"billing", b"other"))
    assert list(cache.get_many([A, B])) == [B]


@pytest.mark.parametrize("data", ["", "[]", '["x"]', "null", "[" * 2000, '["0123456789abcdef",[1]]'])
def test_what_was_never_an_entry_is_a_miss(data):
    assert CachedAnswer.load(A, data) is None


def test_an_entry_under_another_key_is_a_miss():
    assert CachedAnswer.load(B, answer().dump(A)) is None
