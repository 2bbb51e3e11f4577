from pathlib import Path

import pytest

from xcs_airflow.errors import RuntimeTaskError
from xcs_airflow.runtime.settings import ModelRoute, RuntimeSettings


def test_nothing_needs_to_be_set():
    settings = RuntimeSettings.from_environment({})
    assert settings.store == ".xcs/store"
    assert settings.cache_address == "sqlite:///.xcs/cache.sqlite"
    assert settings.models == {}


@pytest.mark.parametrize(
    ("store", "cache"),
    [("/data/store", "sqlite:////data/cache.sqlite"), ("s3://bucket/xcs", "s3://bucket/xcs/cache"), ("gs://bucket/", "gs://bucket/cache")],
)
def test_the_cache_lies_beside_the_store(store, cache):
    assert RuntimeSettings(store=store).cache_address == cache


def test_variables_are_read_and_given_settings_win():
    environ = {
        "XCS_STORE": "s3://bucket/a",
        "XCS_CACHE": "off",
        "XCS_CODE": "code",
        "XCS_TENANT": "acme",
        "XCS_MODELS": '{"openai": {"endpoint": "http://127.0.0.1:8080/v1", "billing": "none"}}',
    }
    settings = RuntimeSettings.from_environment(environ, store="other", cache=None)
    assert settings.store == "other"
    assert settings.cache == "off"
    assert settings.code == Path("code")
    assert settings.tenant == "acme"
    assert settings.models == {"openai": ModelRoute(endpoint="http://127.0.0.1:8080/v1", billing="none")}


def test_the_cache_may_have_a_limit_and_a_key():
    settings = RuntimeSettings.from_environment({"XCS_CACHE_MAX_BYTES": "2000000000", "XCS_CACHE_KEY_ENV": "CACHE_KEY"})
    assert (settings.cache_max_bytes, settings.cache_key_env) == (2_000_000_000, "CACHE_KEY")


@pytest.mark.parametrize("address", ["redis://host:6379/0", "rediss://user:password@host", "unix:///run/redis.sock", "file:///data/cache"])
def test_addresses_of_caches_are_taken_as_they_are(address):
    assert RuntimeSettings.from_environment({"XCS_CACHE": address}).cache_address == address


def test_a_password_in_an_address_is_not_shown():
    with pytest.raises(RuntimeTaskError, match="XCS_CACHE is not valid") as caught:
        RuntimeSettings.from_environment({"XCS_CACHE": "redis:/ann:hunter2@host"})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("text", ["999999", "-1", "2e9", "2 GB", "0x10"])
def test_a_limit_is_a_number_of_bytes(text):
    with pytest.raises(RuntimeTaskError, match="XCS_CACHE_MAX_BYTES is not valid"):
        RuntimeSettings.from_environment({"XCS_CACHE_MAX_BYTES": text})


def test_an_empty_variable_is_not_set():
    assert RuntimeSettings.from_environment({"XCS_STORE": "", "XCS_MODELS": ""}) == RuntimeSettings()


def test_everything_wrong_is_said_at_once():
    environ = {
        "XCS_STORE": "ftp://host/x",
        "XCS_CACHE": "postgres://host",
        "XCS_MODELS": '{"a": {"endpoint": "file:///etc/passwd"}, "b": {"timeout": 3}, "c": {"max_in_flight": 0}}',
    }
    with pytest.raises(RuntimeTaskError) as caught:
        RuntimeSettings.from_environment(environ)
    messages = [finding.message for finding in caught.value.findings]
    assert [finding.code for finding in caught.value.findings] == ["XCS611"] * 5
    for part in ("XCS_STORE", "XCS_CACHE", "a.endpoint", "b.timeout", "c.max_in_flight"):
        assert any(part in message for message in messages), part


def test_a_document_that_is_not_json_is_refused():
    with pytest.raises(RuntimeTaskError, match="XCS_MODELS is not valid"):
        RuntimeSettings.from_environment({"XCS_MODELS": "{"})
