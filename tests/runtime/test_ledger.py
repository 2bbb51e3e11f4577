import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xcs_airflow.runtime.ledger import Books, Ledger, Usage, current_ledger, keeping_books, total
from xcs_airflow.runtime.models import ModelAnswer
from xcs_airflow.runtime.results import run_folder
from xcs_airflow.runtime.store import LocalStore
from xcs_airflow.runtime.usage import run_usage

MODEL = "openai/gpt-4.1-mini"
ANSWER = ModelAnswer("x", 1000, 10, cached_tokens=100)


def price(model, given, made, cached):
    return None if model == "local/x" else Decimal(given + made) / 1000


def kept(store, act, close=True):
    ledger = Ledger(lambda: store.appender("log.jsonl"))
    act(ledger)
    if close:
        ledger.close(price)
    return store.get("log.jsonl").splitlines()


def some_calls(ledger):
    ledger.note("classify", MODEL, rows=10, hits=3, duplicates=2)
    for _ in range(5):
        ledger.intend("classify", MODEL, 1)
    ledger.settle("classify", MODEL, MODEL, ANSWER, 0.5)
    ledger.settle("classify", MODEL, None, ANSWER, 0.5)
    ledger.fail("classify", MODEL, "refused", "HTTP 400")
    ledger.fail("classify", MODEL, "unknown", "lost")


EXPECTED = Usage(
    "classify",
    MODEL,
    rows=10,
    hits=3,
    duplicates=2,
    calls=2,
    refused=1,
    possibly_billed=2,
    input_tokens=2000,
    output_tokens=20,
    cached_tokens=200,
    list_cost_usd=Decimal("2.02"),
    billed_cost_usd=Decimal("1.01"),
)


def test_what_was_kept_adds_up_to_what_happened(tmp_path):
    lines = kept(LocalStore(tmp_path), some_calls, close=False)
    assert Books.read(lines).usage(price) == [EXPECTED]


def test_a_finished_attempt_keeps_its_prices(tmp_path):
    lines = kept(LocalStore(tmp_path), some_calls)
    assert Books.read(lines).usage(lambda *_: Decimal(99)) == [EXPECTED]


def test_a_call_without_a_settlement_is_possibly_billed(tmp_path):
    lines = kept(LocalStore(tmp_path), lambda ledger: ledger.intend("a", MODEL, 1), close=False)
    (usage,) = Books.read(lines).usage(price)
    assert (usage.calls, usage.possibly_billed, usage.list_cost_usd) == (0, 1, 0)


def test_intended_calls_that_were_not_made_are_given_back(tmp_path):
    def act(ledger):
        ledger.intend("a", MODEL, 64)
        ledger.settle("a", MODEL, MODEL, ANSWER, 0.1)
        ledger.give_back("a", MODEL, 63)
        ledger.give_back("a", MODEL, 0)

    (usage,) = Books.read(kept(LocalStore(tmp_path), act, close=False)).usage(price)
    assert usage.possibly_billed == 0


def test_an_unknown_price_is_not_zero(tmp_path):
    def act(ledger):
        ledger.intend("a", "local/x", 2)
        ledger.settle("a", "local/x", "local/x", ANSWER, 0.1)
        ledger.settle("a", "local/x", None, ModelAnswer("x"), 0.1)

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
    assert usage.calls + usage.refused + usage.possibly_billed == announced


def test_nothing_is_written_when_nothing_happens(tmp_path):
    ledger = Ledger(lambda: LocalStore(tmp_path).appender("log.jsonl"))
    assert ledger.close(price) == []
    assert list(tmp_path.iterdir()) == []


def test_calls_made_inside_a_task_find_its_books():
    with keeping_books(Ledger()) as ledger:
        assert current_ledger() is ledger
    assert current_ledger() is not ledger


def test_a_run_is_the_sum_of_all_its_attempts(settings):
    store = LocalStore(settings.store and __import__("pathlib").Path(settings.store))
    for task, token in (("one", "a"), ("one", "b"), ("two", "c")):
        ledger = Ledger(lambda task=task, token=token: store.appender(f"{run_folder('p', 'r/1')}/ledger/{task}/0-of-1.1.{token}.jsonl"))
        some_calls(ledger)
        if token != "b":
            ledger.close(price)
    usage = run_usage(settings, "p", "r/1")
    assert [entry.operation for entry in usage.operations] == ["classify"]
    assert (usage.total.calls, usage.total.rows, usage.total.possibly_billed) == (6, 30, 6)
    assert usage.to_dict()["total"]["rows"] == 30
    assert run_usage(settings, "p", "another").operations == ()


@pytest.mark.parametrize("name", ["rows", "list_cost_usd"])
def test_usages_add_up(name):
    assert getattr(EXPECTED + EXPECTED, name) == 2 * getattr(EXPECTED, name)
