"""Addresses, and the cache each of them opens; and what is no entry."""

import pytest

from xcs_airflow.errors import RuntimeTaskError
from xcs_airflow.runtime.cache import CachedAnswer, open_cache
from xcs_airflow.runtime.cache.object import ObjectCache
from xcs_airflow.runtime.cache.sqlite import SqliteCache

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


@pytest.mark.parametrize("data", ["", "[]", '["x"]', "null", "[" * 2000, '["0123456789abcdef",[1]]'])
def test_what_was_never_an_entry_is_a_miss(data):
    assert CachedAnswer.load(A, data) is None


def test_an_entry_under_another_key_is_a_miss():
    assert CachedAnswer.load(B, answer().dump(A)) is None
