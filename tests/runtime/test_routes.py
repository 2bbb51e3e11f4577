import asyncio
import sys
import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from xcs_airflow.errors import ModelError, RuntimeTaskError
from xcs_airflow.runtime.models import protocols
from xcs_airflow.runtime.models.routes import provider_for, target_of
from xcs_airflow.runtime.settings import ModelRoute, RuntimeSettings

MODEL = "openai/gpt-4.1-mini"


def target(model=MODEL, **models):
    routes = {name.replace("__", "/").replace("_", "-"): ModelRoute(**route) for name, route in models.items()}
    return target_of(model, RuntimeSettings(models=routes))


def test_openai_needs_only_a_key():
    found = target()
    assert (found.provider, found.served_model, found.address) == ("openai", "gpt-4.1-mini", "https://api.openai.com/v1")
    assert (found.route.key_env, found.route.billing, found.route.token_limit) == ("OPENAI_API_KEY", "list", "max_completion_tokens")


def test_a_route_without_an_endpoint_only_changes_how_the_built_in_one_is_used():
    found = target(openai={"requests_per_minute": 10})
    assert (found.address, found.route.key_env, found.route.requests_per_minute) == ("https://api.openai.com/v1", "OPENAI_API_KEY", 10)


def test_a_key_never_goes_to_an_endpoint_it_was_not_given_for():
    found = target(openai={"endpoint": "http://127.0.0.1:1/v1/"})
    assert found.address == "http://127.0.0.1:1/v1"
    assert found.route.key_env is None
    assert found.key is None
    assert found.route.token_limit == "max_tokens"


def test_the_longer_name_wins_and_inherits_what_it_does_not_say():
    models = {"acme": {"endpoint": "http://a/v1", "max_in_flight": 3}, "acme__big": {"model": "big-2026"}}
    found = target("acme/big", **models)
    assert (found.address, found.served_model, found.route.max_in_flight) == ("http://a/v1", "big-2026", 3)
    assert target("acme/small", **models).served_model == "small"
    other = target("acme/big", **{**models, "acme__big": {"endpoint": "http://b/v1"}})
    assert (other.address, other.route.max_in_flight) == ("http://b/v1", None)


def test_names_may_have_many_parts_or_one():
    models = {"router": {"endpoint": "http://r/v1"}, "llama": {"endpoint": "http://l/v1"}}
    assert target("router/meta/llama-4", **models).served_model == "meta/llama-4"
    assert target("llama", **models).served_model == "llama"


def test_a_model_can_be_answered_by_another_one():
    models = {"openai": {"use": "acme/big"}, "acme": {"endpoint": "http://a/v1", "billing": "none"}}
    found = target(**models)
    assert (found.model, found.answered_by, found.provider, found.served_model) == (MODEL, "acme/big", "acme", "big")
    assert found.route.billing == "none"


def test_redirects_in_a_circle_are_refused():
    with pytest.raises(ModelError, match="circle"):
        target(openai={"use": "acme/x"}, acme={"use": MODEL})


@pytest.mark.parametrize("model", ["acme/big", "gpt-4.1"])
def test_an_unknown_provider_is_told_what_to_set(model):
    with pytest.raises(ModelError, match="XCS_MODELS"):
        target(model)


def test_local_models_cost_nothing_and_are_told_apart_by_their_weights(tmp_path):
    weights = tmp_path / "tiny.gguf"
    weights.write_bytes(b"1234")
    found = target_of("local/anything", RuntimeSettings(local_model=weights))
    assert (found.address, found.weights, found.route.billing) == ("weights:tiny.gguf:4", weights, "none")
    assert target("local/x", local={"endpoint": "http://127.0.0.1/v1"}).route.billing == "none"
    with pytest.raises(RuntimeTaskError, match="XCS_LOCAL_MODEL"):
        target_of("local/anything", RuntimeSettings(local_model=tmp_path / "missing.gguf"))
    with pytest.raises(ModelError, match="smollm2"):
        target("local/unknown")


def test_anthropic_needs_only_a_key():
    found = target("anthropic/claude-haiku-4-5")
    assert (found.provider, found.served_model, found.address) == ("anthropic", "claude-haiku-4-5", "https://api.anthropic.com/v1")
    assert (found.route.protocol, found.route.key_env, found.route.billing) == ("anthropic", "ANTHROPIC_API_KEY", "list")


def test_an_endpoint_of_ones_own_speaks_what_its_route_says():
    assert target("acme/x", acme={"endpoint": "http://a/v1"}).route.protocol is None
    assert target("acme/x", acme={"endpoint": "http://a/v1", "protocol": "anthropic"}).route.protocol == "anthropic"
    with pytest.raises(ModelError, match="no endpoint is configured for acme/x"):
        target("acme/x", acme={"protocol": "anthropic"})


def test_a_protocol_nobody_speaks_is_refused_with_those_that_are_known():
    with pytest.raises(ModelError) as caught:
        target("acme/x", acme={"endpoint": "http://a/v1", "protocol": "anthropics"})
    assert caught.value.code == "XCS710"
    assert "acme/x" in str(caught.value)
    assert "did you mean 'anthropic'?" in str(caught.value)
    with pytest.raises(ModelError, match="known: anthropic, local, openai"):
        target("acme/x", acme={"endpoint": "http://a/v1", "protocol": "zzz"})


ACME = """
from contextlib import asynccontextmanager


@asynccontextmanager
async def opened(target, in_flight):
    yield target.address, in_flight
"""


def test_an_installed_package_may_bring_a_protocol(tmp_path, monkeypatch):
    (tmp_path / "acme_models.py").write_text(ACME)
    info = tmp_path / "acme_models-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-models\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{protocols.GROUP}]\nacme = acme_models:opened\nbroken = acme_models:missing\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    protocols._installed.cache_clear()
    try:
        found = target("acme/x", acme={"protocol": "acme"})

        async def opened():
            async with provider_for(found, 3) as provider:
                return provider

        assert asyncio.run(opened()) == ("acme:", 3)
        with pytest.raises(ModelError) as caught:
            protocols.opener("broken", "acme/x")
        assert caught.value.code == "XCS711"
        assert "acme_models:missing" in str(caught.value)
    finally:
        protocols._installed.cache_clear()
        sys.modules.pop("acme_models", None)


def test_built_in_protocols_are_the_entry_points_of_this_package():
    declared = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["entry-points"][protocols.GROUP]
    assert declared == {name: point.value for name, point in protocols.BUILT_IN.items()}
    assert all(callable(protocols.opener(name, "m/x")) for name in declared)


def test_built_in_protocols_are_found_without_looking_at_other_packages(monkeypatch):
    monkeypatch.setattr(protocols, "entry_points", lambda **_: pytest.fail("looked at every installed package"))
    protocols._installed.cache_clear()
    assert target("acme/x", acme={"endpoint": "http://a/v1"}).address == "http://a/v1"


@pytest.mark.parametrize("value", ["two words", "two\nlines", "schl\u00fcssel"])
def test_what_cannot_be_sent_as_a_key_is_refused_and_not_shown(value, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", value)
    with pytest.raises(ModelError) as caught:
        _ = target().key
    assert caught.value.code == "XCS712"
    assert value not in str(caught.value)


def test_blanks_around_a_key_do_not_matter(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", " sk-1\n")
    assert target().key == target().secret == "sk-1"
    monkeypatch.setenv("OPENAI_API_KEY", "\n")
    with pytest.raises(ModelError, match="is not set"):
        _ = target().key


METADATA = [
    "http://169.254.169.254/v1",
    "http://169.254.170.2",
    "http://2852039166/v1",
    "http://0xA9FEA9FE/v1",
    "http://[::ffff:169.254.169.254]/v1",
    "http://[fe80::1]/v1",
    "http://[fd00:ec2::254]/v1",
    "http://metadata.google.internal./v1",
    "http://100.100.100.200",
]


@pytest.mark.parametrize("endpoint", METADATA)
def test_metadata_services_are_no_endpoints(endpoint):
    with pytest.raises(ValidationError, match="link-local or a cloud's metadata service"):
        ModelRoute(endpoint=endpoint)
    assert ModelRoute(endpoint=endpoint, allow_link_local=True).endpoint == endpoint


@pytest.mark.parametrize("endpoint", ["http://user:pw@host/v1", "http://host/v1?key=1", "http://host/v1#x", "http://host:99999/v1"])
def test_an_endpoint_is_scheme_host_port_and_path(endpoint):
    with pytest.raises(ValidationError, match="the endpoint is refused"):
        ModelRoute(endpoint=endpoint)


def test_private_and_loopback_addresses_are_endpoints():
    for endpoint in ("http://127.0.0.1:8000/v1", "http://10.0.0.7/v1", "http://[::1]:8000/v1", "http://localhost/v1"):
        assert ModelRoute(endpoint=endpoint).endpoint == endpoint
