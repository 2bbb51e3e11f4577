"""What is in a cache, choosing among it, and carrying it from one place to another; in caches of every kind."""

import json
from decimal import Decimal

import pytest

from xcs_airflow.errors import RuntimeTaskError
from xcs_airflow.runtime.cache import Recipe
from xcs_airflow.runtime.cache.inventory import Choice, purge, take_stock
from xcs_airflow.runtime.cache.memory import MemoryCache
from xcs_airflow.runtime.cache.transfer import Imported, exported, import_lines

from .places import NOW, answer, key

CHEAP = Recipe("a" * 24, "classify", {"provider": "p", "model": "cheap"})
DEAR = Recipe("b" * 24, "sort", {"provider": "p", "model": "dear"})


def price(model, input_tokens, output_tokens, cached_tokens, *, written_tokens=0, hour_tokens=0, is_batch=False):
    return {"p/cheap": Decimal(1), "p/dear": Decimal(10)}[model] * (input_tokens + output_tokens) if model != "gpt" else None


@pytest.fixture
def full(cache):
    """Ten answers that are cheap, five that are dear and older, two nobody knows."""
    for recipe in (CHEAP, DEAR):
        cache.note_recipe(recipe)
    cache.put_many({key(number, "a"): answer("ü", input_tokens=1, output_tokens=1) for number in range(10)})
    cache.put_many({key(number, "b"): answer("x", age_s=100, input_tokens=1, output_tokens=1) for number in range(4)})
    cache.put_many({key(4, "b"): answer("x", age_s=200, input_tokens=None)})
    cache.put_many({key(number, "c"): answer("x") for number in range(2)})
    return cache


def test_stock_is_taken_by_origin(full):
    inventory = take_stock(full, price)
    rows = {holding.model: holding for holding in inventory.holdings}
    assert [holding.model for holding in inventory.holdings] == ["p/cheap", "p/dear", "gpt"]
    assert (rows["p/cheap"].entries, rows["p/cheap"].text_bytes, rows["p/cheap"].worth_usd) == (10, 20, 20)
    assert (rows["p/dear"].worth_usd, rows["p/dear"].entries_without_price) == (80, 1)
    assert (rows["p/dear"].oldest, rows["p/dear"].newest) == (NOW - 200, NOW - 100)
    assert (rows["gpt"].operations, rows["gpt"].to_dict()["worth_usd"]) == ((), None)
    total = inventory.total
    assert (total.entries, total.worth_usd, total.entries_without_price, total.oldest) == (17, 100, 3, NOW - 200)
    assert inventory.unreadable == 0


def test_what_cannot_be_read_is_counted(shared_place):
    cache = shared_place.open()
    cache.put_many({key(1): answer(), key(2): answer()})
    cache.close()
    shared_place.damage(key(1))
    inventory = take_stock(shared_place.open(), price)
    assert (inventory.total.entries, inventory.unreadable) == (1, 1)
    assert purge(shared_place.open(), None).entries == 2


def test_nothing_is_worth_nothing(cache):
    inventory = take_stock(cache, price)
    assert (inventory.holdings, inventory.total.entries, inventory.total.oldest) == ((), 0, None)
    assert inventory.total.to_dict()["worth_usd"] == "0"


@pytest.mark.parametrize(
    ("choice", "count"),
    [
        (None, 17),
        (Choice(), 17),
        (Choice(operation="classify"), 10),
        (Choice(model="p/dear"), 5),
        (Choice(model="gpt"), 2),
        (Choice(before=NOW - 150), 1),
        (Choice(before=NOW, operation="classify"), 0),
        (Choice(before=NOW, operation="sort", model="p/dear"), 5),
    ],
)
def test_exactly_what_is_meant_is_removed(full, choice, count):
    assert purge(full, choice, is_dry=True).entries == count
    assert len(list(full.keys())) == 17
    purged = purge(full, choice)
    assert purged.entries == count
    assert choice is None or sum(purged.by_origin.values()) == count
    assert len(list(full.keys())) == 17 - count


def test_an_export_holds_everything(full):
    other = MemoryCache()
    imported = import_lines(other, exported(full), "it")
    assert imported == Imported(added=17, recipes=2)
    assert dict(other.entries()) == dict(full.entries())
    assert sorted(other.recipes(), key=lambda recipe: recipe.name) == [CHEAP, DEAR]


def test_every_kind_of_cache_takes_an_export(cache):
    other = MemoryCache()
    other.put_many({key(number): answer("half\ud800\n", model=None) for number in range(3)})
    lines = list(exported(other))
    assert import_lines(cache, lines, "it") == Imported(added=3)
    assert import_lines(cache, lines, "it") == Imported(kept=3)
    assert list(exported(cache)) == lines


def test_a_changed_byte_is_damage(cache):
    other = MemoryCache()
    other.put_many({key(1): answer()})
    header, line = exported(other)
    changed = [
        line.replace("billing", "refunds"),
        line.replace(key(1), key(2)),
        line.replace("[10, 2]", "[10, 3]").replace("10, 2,", "10, 3,"),
    ]
    assert import_lines(cache, [header, *changed], "it") == Imported(damaged=3)
    assert list(cache.keys()) == []
    assert import_lines(cache, [header, json.dumps(json.loads(line), indent=None, separators=(",", ":"))], "it") == Imported(added=1)


def test_what_is_no_export_is_refused(cache):
    for lines in ([], ["{}"], ['{"xcs_cache": 99}'], ["[" * 5000]):
        with pytest.raises(RuntimeTaskError, match="XCS622"):
            import_lines(cache, lines, "it")
