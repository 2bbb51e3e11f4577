import pytest

from xcs_airflow.errors import ModelError, RuntimeTaskError
from xcs_airflow.runtime.models.routes import target_of
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


@pytest.mark.parametrize("model", ["anthropic/claude-haiku-4-5", "gpt-4.1"])
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
