import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xcs_airflow.plan.lower import lower
from xcs_airflow.runtime import books
from xcs_airflow.runtime.attempt import Attempt
from xcs_airflow.runtime.books import Account, Books, Call, Usage, total
from xcs_airflow.runtime.ledger import Ledger, current_ledger, keeping_books
from xcs_airflow.runtime.models import ModelAnswer
from xcs_airflow.runtime.results import run_folder
from xcs_airflow.runtime.store import LocalStore
from xcs_airflow.runtime.usage import run_usage

MODEL = "openai/gpt-4.1-mini"
ANSWER = ModelAnswer("x", 1000, 10, cached_tokens=100)
ACCOUNT = Account("classify", MODEL)
BATCH = Account("classify", MODEL, "provider_batch")


def price(model, given, made, cached, *, written_tokens=0, hour_tokens=0, is_batch=False):
    return None if model == "local/x" else Decimal(given + made) / (2000 if is_batch else 1000)


def kept(store, act, close=True):
    ledger = Ledger(lambda: store.appender("log.jsonl"))
    act(ledger)
    if close:
        ledger.close(price)
    else:
        ledger.flush()
    return store.get("log.jsonl").splitlines()


def settle(ledger, account, outcome="answered", billed_as=MODEL, answer=ANSWER):
    ledger.settle(account, answer, outcome, billed_as=billed_as, seconds=0.5)


def some_calls(ledger):
    ledger.note(ACCOUNT, rows=10, hits=3, duplicates=2)
    ledger.save(ACCOUNT, "hits", {(1000, 10): 3})
    ledger.save(ACCOUNT, "duplicates", {(1000, 10): 1, (None, None): 1})
    for _ in range(6):
        ledger.intend(ACCOUNT, 1)
    settle(ledger, ACCOUNT)
    settle(ledger, ACCOUNT, billed_as=None)
    settle(ledger, ACCOUNT, "discarded")
    ledger.fail(ACCOUNT, "refused", "HTTP 400")
    ledger.fail(ACCOUNT, "unknown", "lost")


EXPECTED = Usage(
    *ACCOUNT,
    rows=10,
    hits=3,
    duplicates=2,
    calls=2,
    discarded=1,
    refused=1,
    possibly_billed=2,
    input_tokens=3000,
    output_tokens=30,
    cached_tokens=300,
    list_cost_usd=Decimal("3.03"),
    billed_cost_usd=Decimal("2.02"),
    wasted_cost_usd=Decimal("1.01"),
    possibly_billed_cost_usd=Decimal("2.02"),
    saved_by_hits_usd=Decimal("3.03"),
    saved_by_duplicates_usd=Decimal("1.01"),
)


def test_what_was_kept_adds_up_to_what_happened(tmp_path):
    lines = kept(LocalStore(tmp_path), some_calls, close=False)
    assert Books.read(lines).usage(price) == [EXPECTED]


def test_a_finished_attempt_keeps_its_prices(tmp_path):
    lines = kept(LocalStore(tmp_path), some_calls)
    assert Books.read(lines).usage(lambda *_, **__: Decimal(99)) == [EXPECTED]
    assert Books.read(lines).is_closed
    assert not Books.read(lines[:-1]).is_closed


def test_a_call_without_a_settlement_is_possibly_billed(tmp_path):
    lines = kept(LocalStore(tmp_path), lambda ledger: ledger.intend(ACCOUNT, 1), close=False)
    (usage,) = Books.read(lines).usage(price)
    assert (usage.calls, usage.possibly_billed, usage.list_cost_usd) == (0, 1, 0)


def test_intended_calls_that_were_not_made_are_given_back(tmp_path):
    def act(ledger):
        ledger.intend(ACCOUNT, 64)
        settle(ledger, ACCOUNT)
        ledger.give_back(ACCOUNT, 63)
        ledger.give_back(ACCOUNT, 0)

    (usage,) = Books.read(kept(LocalStore(tmp_path), act, close=False)).usage(price)
    assert usage.possibly_billed == 0


def test_an_unknown_price_is_not_zero(tmp_path):
    def act(ledger):
        account = Account("a", "local/x")
        ledger.intend(account, 2)
        settle(ledger, account, billed_as="local/x")
        settle(ledger, account, billed_as=None, answer=ModelAnswer("x"))

    (usage,) = Books.read(kept(LocalStore(tmp_path), act)).usage(price)
    assert (usage.calls_without_list_price, usage.calls_without_billed_price) == (2, 1)
    document = usage.to_dict()
    assert (document["list_cost_usd"], document["billed_cost_usd"]) == (None, "0")
    assert Usage.from_dict(json.loads(json.dumps(document))) == usage


@given(st.integers(0, 400))
def test_a_torn_end_never_makes_a_call_free(tmp_path_factory, cut):
    store = LocalStore(tmp_path_factory.mktemp("ledger"))
    content = b"\n".join(kept(store, some_calls, close=False))
    torn = content[: max(0, len(content) - cut)]
    whole = [line for line in torn.split(b"\n") if line.endswith(b"}")]
    announced = sum(b'"intent"' in line for line in whole)
    usage = total(Books.read(torn.split(b"\n")).usage(price))
    assert usage.calls + usage.discarded + usage.refused + usage.possibly_billed == announced


@given(st.integers(0, 400))
def test_a_torn_settlement_leaves_its_call_possibly_billed(tmp_path_factory, cut):
    store = LocalStore(tmp_path_factory.mktemp("ledger"))
    content = b"\n".join(kept(store, some_calls, close=False))
    torn = content[: max(0, len(content) - cut)].split(b"\n")
    settled = sum(b'"settled"' in line and line.endswith(b"}") for line in torn)
    announced = sum(b'"intent"' in line and line.endswith(b"}") for line in torn)
    unknown = sum(b'"unknown"' in line and line.endswith(b"}") for line in torn)
    assert total(Books.read(torn).usage(price)).possibly_billed == announced - settled + unknown


def test_a_batch_is_billed_at_its_own_price_and_saves_the_difference(tmp_path):
    def act(ledger):
        ledger.intend(BATCH, 1)
        settle(ledger, BATCH)

    (usage,) = Books.read(kept(LocalStore(tmp_path), act, close=False)).usage(price)
    assert (usage.mechanism, usage.list_cost_usd) == ("provider_batch", Decimal("1.01"))
    assert (usage.billed_cost_usd, usage.saved_by_batch_usd) == (Decimal("0.505"), Decimal("0.505"))


def test_tokens_that_a_prompt_cache_took_in_are_counted_and_priced(tmp_path):
    """A line without them, as ledgers had before, says that there were none."""
    written = ModelAnswer("x", 1000, 10, written_tokens=600, hour_tokens=200)

    def act(ledger):
        ledger.intend(BATCH, 2)
        ledger.settle(BATCH, written, "answered", billed_as=BATCH.model, seconds=0)
        settle(ledger, BATCH)

    def with_writes(model, given, made, cached, *, written_tokens=0, hour_tokens=0, is_batch=False):
        return price(model, given, made, cached) + Decimal(written_tokens + 10 * hour_tokens)

    lines = kept(LocalStore(tmp_path), act, close=False)
    assert sum(b"written_tokens" in line for line in lines) == 1
    (usage,) = Books.read(lines).usage(with_writes)
    assert (usage.written_tokens, usage.input_tokens) == (600, 2000)
    assert usage.billed_cost_usd == 2 * price(BATCH.model, 1000, 10, 0) + 600 + 2000


def test_a_batch_whose_price_nobody_knows_is_not_free(tmp_path):
    def act(ledger):
        ledger.intend(BATCH, 1)
        settle(ledger, BATCH)

    def live_only(*call, is_batch=False, **written):
        return None if is_batch else price(*call)

    (usage,) = Books.read(kept(LocalStore(tmp_path), act, close=False)).usage(live_only)
    assert (usage.calls_without_billed_price, usage.calls_without_list_price) == (1, 0)
    assert (usage.to_dict()["billed_cost_usd"], usage.saved_by_batch_usd) == (None, 0)


def test_each_mechanism_has_an_account_of_its_own(tmp_path):
    def act(ledger):
        for account in (ACCOUNT, BATCH):
            ledger.intend(account, 1)
            settle(ledger, account)

    usages = Books.read(kept(LocalStore(tmp_path), act)).usage(price)
    assert [usage.mechanism for usage in usages] == ["concurrent", "provider_batch"]


def test_where_prices_are_known_different_calls_are_counted_and_forgotten(monkeypatch):
    """However different the calls are, memory stays small, and the sums are those of books that keep every one of them."""
    monkeypatch.setattr(books, "_MOST_DISTINCT", 50)
    small, large = Books(price), Books()
    for number in range(1000):
        for each in (small, large):
            each.add({"event": "intent", **ACCOUNT._asdict(), "calls": 2, "at": number})
            each.settle(ACCOUNT, Call("discarded" if number % 7 == 0 else "answered", MODEL, number, number % 13, 0))
            each.add({"event": "saved", **ACCOUNT._asdict(), "by": "hits", "answers": [[number, number % 11, 2]]})
    assert small.usage(price) == large.usage(price)
    page = small._pages[ACCOUNT]
    assert len(page.priced) + len(page.saved) <= 51


def test_an_attempt_knows_prices_while_it_writes(settings, graphs):
    manifest = lower(graphs["small"]())
    this = Attempt(manifest, manifest.tasks[0], 0, "r", 1, {}, settings, LocalStore(Path(settings.store)))
    assert this.ledger._books._price is this.price


def test_nothing_is_written_when_nothing_happens(tmp_path):
    ledger = Ledger(lambda: LocalStore(tmp_path).appender("log.jsonl"))
    assert ledger.close(price) == []
    assert list(tmp_path.iterdir()) == []


def test_calls_made_inside_a_task_find_its_books():
    with keeping_books(Ledger()) as ledger:
        assert current_ledger() is ledger
    assert current_ledger() is not ledger


def test_a_run_is_the_sum_of_all_its_attempts(settings):
    store = LocalStore(Path(settings.store))
    for task, token in (("one", "a"), ("one", "b"), ("two", "c")):
        ledger = Ledger(lambda task=task, token=token: store.appender(f"{run_folder('p', 'r/1')}/ledger/{task}/0-of-1.1.{token}.jsonl"))
        some_calls(ledger)
        if token != "b":
            ledger.close(price)
        ledger.flush()
    usage = run_usage(settings, "p", "r/1")
    assert [entry.operation for entry in usage.operations] == ["classify"]
    assert (usage.total.calls, usage.total.rows, usage.total.possibly_billed) == (6, 30, 6)
    assert usage.to_dict()["total"]["rows"] == 30
    assert run_usage(settings, "p", "another").operations == ()


@pytest.mark.parametrize("name", ["rows", "list_cost_usd"])
def test_usages_add_up(name):
    assert getattr(EXPECTED + EXPECTED, name) == 2 * getattr(EXPECTED, name)
