"""Addresses, and the cache each of them opens; and what is no entry."""

import pytest

from xcs_airflow.errors import RuntimeTaskError
from xcs_airflow.runtime.cache import CachedAnswer, open_cache
from xcs_airflow.runtime.cache.object import ObjectCache
from xcs_airflow.runtime.cache.sqlite import SqliteCache
from xcs_airflow.runtime.caches import cache_at, shared_cache
from xcs_airflow.runtime.settings import RuntimeSettings

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
        open_cache("redis:/host")


def test_only_sqlite_keeps_to_a_size(tmp_path):
    settings = RuntimeSettings(store=str(tmp_path / "store"), cache_max_bytes=1_000_000)
    assert shared_cache(settings)._max_bytes == 1_000_000
    assert cache_at(f"sqlite:///{tmp_path}/memory-of-a-run", settings)._max_bytes is None
    for address in (f"file://{tmp_path}/cache", "redis://host"):
        with pytest.raises(RuntimeTaskError, match="XCS_CACHE_MAX_BYTES is not valid"):
            shared_cache(RuntimeSettings(cache=address, cache_max_bytes=1_000_000))


def test_settings_say_whose_cache_it_is_and_how_it_is_encrypted(tmp_path, monkeypatch):
    monkeypatch.setenv("CACHE_KEY", "00" * 32)
    settings = RuntimeSettings(store=str(tmp_path / "store"), tenant="acme", cache_key_env="CACHE_KEY")
    shared_cache(settings).put_many({A: answer()})
    assert shared_cache(settings).get_many([A]) == {A: answer()}
    assert open_cache(settings.cache_address, "acme").get_many([A]) == {}
    assert open_cache(settings.cache_address, key_env="CACHE_KEY").get_many([A]) == {}


@pytest.mark.parametrize("data", ["", "[]", '["x"]', "null", "[" * 2000, '["0123456789abcdef",[1]]'])
def test_what_was_never_an_entry_is_a_miss(data):
    assert CachedAnswer.load(A, data) is None


def test_an_entry_under_another_key_is_a_miss():
    assert CachedAnswer.load(B, answer().dump(A)) is None
