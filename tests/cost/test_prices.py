"""What a call costs, and who says so."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from genai_prices import Usage, calc_price
from genai_prices.data import providers

from xcs_airflow.cost.prices import PriceBook
from xcs_airflow.errors import PlanError

RATES = {"input_per_million_usd": "1.5", "output_per_million_usd": 6, "cached_input_per_million_usd": 0.15}
FILE = {"source": "our contract", "as_of": "2026-10-01", "models": {"openai/gpt-4.1-mini": RATES, "ours/model": RATES}}
AS_OF = datetime.fromisoformat(PriceBook.load().source.as_of).replace(tzinfo=UTC)


def write(folder, content, name="prices.json"):
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize("provider", providers, ids=lambda provider: provider.id)
def test_every_known_model_costs_what_genai_prices_calculates(provider):
    book = PriceBook.load()
    for model in provider.models:
        for tokens in [(1_000, 100, 0), (1_000, 100, 900), (300_000, 1, 0)]:
            found = book.price(f"{provider.id}/{model.id}", *tokens)
            if found is not None:
                usage = Usage(input_tokens=tokens[0], output_tokens=tokens[1], cache_read_tokens=tokens[2])
                expected = calc_price(usage, model.id, provider_id=provider.id, genai_request_timestamp=AS_OF)
                assert found == expected.total_price


def test_input_taken_into_the_prompt_cache_costs_what_genai_prices_calculates():
    book, compared = PriceBook.load(), 0
    for provider in providers:
        for model in provider.models:
            prices = model.get_prices(AS_OF)
            if provider.id != "anthropic" or prices.cache_write_mtok is None or prices.cache_write_1h_mtok is None:
                continue
            for written, hour in [(900, 0), (900, 900), (900, 400), (250_000, 0)]:
                usage = Usage(input_tokens=300_000, output_tokens=10, cache_read_tokens=90, cache_write_tokens=written)
                usage.cache_write_1h_tokens = hour
                found = book.price(f"anthropic/{model.id}", 300_000, 10, 90, written_tokens=written, hour_tokens=hour)
                assert found == calc_price(usage, model.id, provider_id="anthropic", genai_request_timestamp=AS_OF).total_price
                compared += 1
    assert compared > 20


def test_a_prompt_cache_costs_more_to_write_and_a_batch_has_its_discount_on_that_too():
    """1.25 times the input for five minutes, twice for an hour (platform.claude.com/docs/en/build-with-claude/prompt-caching)."""
    book, million = PriceBook.load(), 1_000_000
    model = "anthropic/claude-haiku-4-5"
    assert book.price(model, million, 0, written_tokens=million) == Decimal("1.25")
    assert book.price(model, million, 0, written_tokens=million, hour_tokens=million) == 2
    assert book.price(model, million, 0, written_tokens=million, is_batch=True) == Decimal("0.625")
    assert book.price(model, 2 * million, 0, million, written_tokens=million, is_batch=True) == Decimal("0.675")
    assert book.price("nobody/model", million, 0, written_tokens=million) is None


def test_written_tokens_cost_what_input_costs_where_nobody_knows_more(tmp_path):
    for model in ("openai/gpt-4.1-mini", "google/gemini-2.5-pro"):
        assert PriceBook.load().price(model, 1_000, 0, written_tokens=900) == PriceBook.load().price(model, 1_000, 0)
    plain = {"input_per_million_usd": "2", "output_per_million_usd": "0"}
    models = {"a/plain": plain, "a/written": {**plain, "written_input_per_million_usd": "3"}}
    models["a/hour"] = {**models["a/written"], "hour_input_per_million_usd": "5"}
    book = PriceBook.load(write(tmp_path, {**FILE, "models": models}))
    prices = [book.price(model, 2_000_000, 0, written_tokens=1_000_000, hour_tokens=500_000) for model in models]
    assert prices == [4, 5, 6]


@pytest.mark.parametrize("model", ["openai/gpt-4.1-mini", "gpt-4.1-mini", "anthropic/claude-haiku-4-5", "openrouter/openai/gpt-4o"])
def test_a_model_may_be_written_with_or_without_its_provider(model):
    assert PriceBook.load().price(model, 1_000_000, 1_000_000) > 0


@pytest.mark.parametrize("model", ["nobody/model", "openai/no-such-model", "no such model", "", "/", "azure/phi-4-reasoning:free"])
def test_an_unknown_price_is_none_and_not_zero(model):
    assert PriceBook.load().price(model, 1_000, 1_000) is None


def test_a_model_without_a_price_for_output_is_unknown_only_with_output():
    book = PriceBook.load()
    assert book.price("openai/text-embedding-3-small", 1_000, 0) > 0
    assert book.price("openai/text-embedding-3-small", 1_000, 1) is None


def test_no_tokens_cost_nothing():
    assert PriceBook.load().price("openai/gpt-4.1-mini", 0, 0) == 0


def test_local_models_have_a_known_price_of_zero():
    assert PriceBook.load().price("local/smollm2-135m-instruct", 1_000_000, 1_000_000) == 0


def test_a_price_with_tiers_is_not_linear():
    book = PriceBook.load()
    small, large = book.price("google/gemini-2.5-pro", 100_000, 0), book.price("google/gemini-2.5-pro", 400_000, 0)
    assert large > 4 * small


def test_the_source_names_package_version_and_date():
    source = PriceBook.load().source
    assert (source.name, source.as_of, source.overrides) == ("genai-prices", "2026-11-22", None)
    assert source.version.count(".") == 2


@pytest.mark.parametrize("name", ["prices.json", "prices.toml"])
def test_a_users_price_goes_first(tmp_path, name):
    toml = 'source = "our contract"\nas_of = "2026-10-01"\n' + "".join(
        f'[models."{model}"]\ninput_per_million_usd = 1.5\noutput_per_million_usd = 6\ncached_input_per_million_usd = 0.15\n'
        for model in FILE["models"]
    )
    book = PriceBook.load(write(tmp_path, toml if name.endswith("toml") else FILE, name))
    for model in FILE["models"]:
        assert book.price(model, 1_000_000, 1_000_000) == Decimal("7.5")
        assert book.price(model, 1_000_000, 0, 1_000_000) == Decimal("0.15")
    assert book.price("anthropic/claude-haiku-4-5", 1_000, 0) == PriceBook.load().price("anthropic/claude-haiku-4-5", 1_000, 0)
    assert book.source.overrides == f"{name}: our contract (2026-10-01)"


def test_cached_tokens_cost_what_input_costs_where_no_rate_is_given(tmp_path):
    rates = {"input_per_million_usd": "2", "output_per_million_usd": "0"}
    book = PriceBook.load(write(tmp_path, {**FILE, "models": {"a/b": rates}}))
    assert book.price("a/b", 1_000_000, 0, 500_000) == 2


@pytest.mark.parametrize("provider", [found for found in providers if found.id in ("openai", "anthropic")], ids=lambda found: found.id)
def test_a_batch_costs_what_genai_prices_says_where_it_has_a_batch_price(provider):
    """It has none for many models, and then says what a live call costs."""
    book = PriceBook.load()
    compared = 0
    for model in provider.models:
        for tokens in [(100_000, 0, 0), (0, 100_000, 0), (100_000, 100_000, 90_000)]:  # one tier of all
            usage = Usage(input_tokens=tokens[0], output_tokens=tokens[1], cache_read_tokens=tokens[2])
            how = {"model_ref": model.id, "provider_id": provider.id, "genai_request_timestamp": AS_OF}
            found, live = book.price(f"{provider.id}/{model.id}", *tokens, is_batch=True), book.price(f"{provider.id}/{model.id}", *tokens)
            if found is None or model.id.startswith("gpt-image"):  # no text
                continue
            expected = calc_price(usage, **how, price_context={"processing": "batch"}).total_price
            if expected != live:
                assert float(found) == pytest.approx(float(expected), rel=0.01)  # they publish some prices rounded to a cent
                compared += 1
    assert compared > 40


def test_a_batch_of_anybody_else_has_no_known_price():
    book = PriceBook.load()
    for model in ("google/gemini-2.5-flash", "groq/llama-3.1-8b-instant", "openrouter/openai/gpt-4o", "gpt-4.1-mini", "local/x"):
        assert book.price(model, 1_000, 1_000, is_batch=True) is None


def test_discounts_for_batch_and_prompt_cache_combine_as_the_provider_says():
    book = PriceBook.load()
    million = 1_000_000
    assert book.price("anthropic/claude-haiku-4-5", million, 0) == 1
    assert book.price("anthropic/claude-haiku-4-5", million, 0, million) == Decimal("0.10")
    assert book.price("anthropic/claude-haiku-4-5", million, 0, million, is_batch=True) == Decimal("0.05")
    assert book.price("openai/gpt-5-mini", million, 0, million, is_batch=True) == Decimal("0.0125")
    assert book.price("openai/gpt-4.1-mini", million, 0, is_batch=True) == Decimal("0.20")
    assert book.price("openai/gpt-4.1-mini", million, 0, million, is_batch=True) == Decimal("0.10")  # as live: no second discount
    assert book.price("openai/gpt-4o", million, 0, million, is_batch=True) == book.price("openai/gpt-4o", million, 0, is_batch=True)


def test_a_users_file_says_what_its_models_cost_in_a_batch(tmp_path):
    models = {"openai/gpt-4.1-mini": {**RATES, "batch_share": "0.4"}, "ours/model": RATES}
    book = PriceBook.load(write(tmp_path, {**FILE, "models": models}))
    assert book.price("openai/gpt-4.1-mini", 1_000_000, 1_000_000, is_batch=True) == Decimal("3.00")
    assert book.price("openai/gpt-4.1-mini", 1_000_000, 0, 1_000_000, is_batch=True) == Decimal("0.060")
    assert book.price("ours/model", 1_000, 1_000, is_batch=True) is None
    with pytest.raises(PlanError, match="batch_share"):
        PriceBook.load(write(tmp_path, {**FILE, "models": {"a/b": {**RATES, "batch_share": 2}}}))


def test_every_fault_of_a_price_file_is_reported_at_once(tmp_path):
    bad = {"as_of": "yesterday", "models": {"a/b": {"input_per_million_usd": -1, "output_per_million_usd": "much", "typo": 1}}}
    with pytest.raises(PlanError) as caught:
        PriceBook.load(write(tmp_path, bad))
    assert {finding.code for finding in caught.value.findings} == {"XCS403"}
    text = str(caught.value)
    for word in ("source", "as_of", "models.a/b.input_per_million_usd", "models.a/b.output_per_million_usd", "models.a/b.typo"):
        assert word in text


@pytest.mark.parametrize(
    ("content", "name", "word"),
    [
        ("{", "prices.json", "line 1"),
        ('{"a": 1, "a": 2}', "prices.json", "twice"),
        ('{"source": NaN}', "prices.json", "NaN"),
        ("a = ", "prices.toml", "Invalid value"),
        ("[]", "prices.json", "dict"),
    ],
)
def test_what_is_not_a_document_is_refused(tmp_path, content, name, word):
    with pytest.raises(PlanError, match="XCS403") as caught:
        PriceBook.load(write(tmp_path, content, name))
    assert word in str(caught.value)


def test_a_missing_price_file_is_refused(tmp_path):
    with pytest.raises(PlanError, match="No such file"):
        PriceBook.load(tmp_path / "none.json")


def test_prices_need_neither_graphs_nor_the_table_until_asked():
    script = (
        "import sys; from xcs_airflow.cost.prices import PriceBook; book = PriceBook.load()\n"
        "assert not [name for name in sys.modules if name.startswith(('xcs_airflow.ir', 'genai_prices', 'httpx'))]\n"
        "assert book.price('local/x', 1, 1) == 0 and 'genai_prices' not in sys.modules\n"
        "assert book.price('openai/gpt-4o', 1, 1) > 0"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
