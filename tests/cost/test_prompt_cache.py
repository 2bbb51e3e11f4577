"""What a provider's prompt cache is worth, rule by rule, with published figures."""

from __future__ import annotations

from decimal import Decimal

import pytest

from xcs_airflow.cost.prices import PriceBook
from xcs_airflow.cost.prompt_cache import Calls, less, pays_from, prompt_cache_of, prompt_caches, saved_usd

PRICES = PriceBook.load()
OPUS, SHARED, ITEMS = "anthropic/claude-opus-4-6", 11_400, 25
WITHOUT_CACHE = Decimal("0.0744")
"""US dollars an item of a batch without markers: github.com/Bike4Mind/bike4mind issue 2741, also in the facts on batching, finding 5."""


def test_a_batch_with_cold_prompt_cache_writes_costs_more_than_one_without():
    """0.0816 USD an item with markers and 0 % reads, 0.0744 without (Bike4Mind/bike4mind issue 2741)."""
    cold = WITHOUT_CACHE - saved_usd(OPUS, SHARED, Calls(ITEMS, ITEMS, is_batch=True), PRICES, is_marked=True).expected / ITEMS
    assert cold > WITHOUT_CACHE
    assert float(cold) == pytest.approx(0.0816, rel=0.01)


def test_a_batch_after_a_batch_of_one_request_costs_less():
    """0.0484 USD an item when 25 requests read all of what one before them wrote (Bike4Mind/bike4mind issue 2741)."""
    with_25, with_24 = (
        saved_usd(OPUS, SHARED, Calls(readers + 1, 25, primed=1, is_batch=True), PRICES, is_marked=True) for readers in (ITEMS, ITEMS - 1)
    )
    assert float(WITHOUT_CACHE - (with_25.low - with_24.low)) == pytest.approx(0.0484, rel=0.01)


@pytest.mark.parametrize("is_batch", [False, True])
def test_priming_pays_only_above_break_even(is_batch):
    """A write at 1.25 and a read at 0.1: (1.25 + 0.1) / 2 = 0.675 a call for two calls, 1.25 for one (facts on batching, section 1.5)."""
    first = pays_from(OPUS, PRICES, is_batch=is_batch)
    assert first == 2
    assert saved_usd(OPUS, SHARED, Calls(first - 1, 1, primed=1, is_batch=is_batch), PRICES, is_marked=True).low < 0
    assert saved_usd(OPUS, SHARED, Calls(first, 1, primed=1, is_batch=is_batch), PRICES, is_marked=True).low > 0


def test_writing_for_an_hour_costs_twice_the_input_and_pays_from_three_calls_on():
    """A write at 2 and a read at 0.1 (platform.claude.com/docs/en/build-with-claude/prompt-caching): 2.1 for two calls, 2.2 for three."""
    first = pays_from(OPUS, PRICES, is_batch=True, is_long=True)
    assert first == 3
    two, three = (saved_usd(OPUS, SHARED, Calls(n, n, primed=1, is_batch=True, is_long=True), PRICES, is_marked=True) for n in (2, 3))
    assert two.low < 0 < three.low


def test_of_a_batch_after_another_three_of_ten_requests_read_at_worst():
    """30 to 98 % of the requests of batches, says Anthropic's page, as quoted in Bike4Mind/bike4mind issue 2741; that 25 of 25 did."""
    row = prompt_cache_of(OPUS)
    assert (row.batch_hit_share_low, row.longest_ttl_s) == (0.3, 3600)
    saved = saved_usd(OPUS, SHARED, Calls(100, 100, primed=1, is_batch=True, is_long=True), PRICES, is_marked=True)
    assert saved.high < 0 < saved.expected < saved.low


def test_calls_that_begin_together_do_not_see_what_each_writes():
    """Facts on batching, section 1.5: the items run in parallel and do not see each other's write."""
    together = saved_usd(OPUS, SHARED, Calls(32, 32), PRICES, is_marked=True)
    first = saved_usd(OPUS, SHARED, Calls(32, 32, primed=1), PRICES, is_marked=True)
    assert together.expected < 0 < first.expected


@pytest.mark.parametrize(
    ("model", "least"),
    [
        ("openai/gpt-5", 1024),
        ("anthropic/claude-sonnet-4-5", 1024),
        ("anthropic/claude-haiku-4-5", 4096),
        ("anthropic/claude-opus-4-6", 4096),
        ("anthropic/claude-opus-4-8", 1024),
        ("anthropic/claude-opus-5", 512),
    ],
)
def test_a_prefix_below_the_providers_minimum_is_ignored(model, least):
    """Facts on batching, section 1.5: OpenAI 1,024; Anthropic 512, 1,024 or 4,096 by model; shorter ones are silently ignored."""
    assert saved_usd(model, least - 1, Calls(100, 1), PRICES, is_marked=True) is None
    assert saved_usd(model, least, Calls(100, 1), PRICES, is_marked=True).low > 0


def test_a_cache_that_needs_a_marker_takes_nothing_without():
    assert saved_usd(OPUS, SHARED, Calls(100, 1), PRICES, is_marked=False) is None
    assert saved_usd("openai/gpt-4.1", SHARED, Calls(100, 1), PRICES, is_marked=False).expected > 0


def test_what_is_not_sure_to_be_read_may_cost_more():
    """Calls one after the other missed 40 to 60 % right after the write (anthropics/anthropic-sdk-python issue 1451)."""
    saved = saved_usd(OPUS, SHARED, Calls(100, 1, primed=1), PRICES, is_marked=True)
    assert saved.high < saved.expected < saved.low


def test_a_cost_stays_in_order_whatever_is_saved():
    cost = less(*(saved_usd(OPUS, SHARED, Calls(n, n), PRICES, is_marked=True) for n in (1, 32)))
    assert cost.low <= cost.expected <= cost.high


def test_a_price_nobody_knows_saves_nothing():
    assert saved_usd("anthropic/nobody-knows-it", SHARED, Calls(100, 1), PRICES, is_marked=True) is None
    assert pays_from("nobody/knows", PRICES) is None


def test_rows_are_ordered_so_that_the_longest_name_is_found_first():
    assert prompt_cache_of("anthropic/claude-haiku-4-5").min_tokens == 4096
    for index, row in enumerate(prompt_caches()):
        assert not any(row.prefix.startswith(earlier.prefix) for earlier in prompt_caches()[:index])
        assert row.source
