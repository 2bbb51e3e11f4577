"""One budget, many attempts: what is spent and may have been spent never exceeds it, and what is not spent is never lost."""

import asyncio
import json
import threading
from collections import Counter
from decimal import Decimal

import pytest

from xcs_airflow.runtime.allotments import Allotments
from xcs_airflow.runtime.budget import BudgetError, BudgetHeldError
from xcs_airflow.runtime.store import LocalStore, StoreUnavailableError

from .money import ACCOUNT, FOLDER, MODEL, PER_TOKEN, TARGET, Attempt, Clock, FastClock, MemoryStore, answer, price, request

BUDGET = f"{FOLDER}/budget.json"


def shares(store):
    return Allotments.model_validate_json(store.files[BUDGET])


def attempts(budget, names="ab", store=None):
    store = store or MemoryStore()
    clock = Clock()
    return store, clock, [Attempt(store, name, budget, clock) for name in names]


def run(coroutine):
    return asyncio.run(coroutine)


def test_a_call_that_may_cost_more_than_is_left_is_refused_with_the_figures():
    _, _, (one,) = attempts("0.025", "a")
    for _ in range(2):
        one.answered(run(one.begin(10)), 10)
    with pytest.raises(BudgetError, match="XCS730") as caught:
        run(one.begin(10))
    assert not caught.value.retryable
    assert "costs up to 0.01 USD, and 0.005 USD of the run's budget of 0.025 USD are left" in str(caught.value)
    assert "0.02 USD are spent or may have been, 0 USD are set aside" in str(caught.value)


def test_what_fits_exactly_is_not_refused():
    _, _, (one,) = attempts("0.02", "a")
    for _ in range(2):
        one.answered(run(one.begin(10)), 10)
    with pytest.raises(BudgetError):
        run(one.begin(1))


def test_a_budget_of_nothing_pays_nothing_but_what_costs_nothing():
    _, _, (one,) = attempts("0", "a")
    assert run(one.begin(0)) == 0
    with pytest.raises(BudgetError):
        run(one.begin(1))


def test_what_an_answer_did_not_cost_pays_further_ones():
    store, _, (one,) = attempts("0.02", "a")
    for _ in range(10):
        one.answered(run(one.begin(10)), 1)
    one.end()
    assert shares(store).spent_usd == Decimal("0.010")


def test_a_call_waits_for_those_in_flight_when_they_may_leave_enough():
    _, _, (one,) = attempts("0.025", "a")

    async def calls():
        first, second = await one.begin(10), await one.begin(10)
        third = asyncio.create_task(one.begin(10))
        while not one.purse._waiting:  # noqa: ASYNC110  # the purse has no event for it
            await asyncio.sleep(0)
        one.answered(first, 1)
        one.answered(second, 10)
        return await third

    assert run(calls()) == Decimal("0.010")


def test_when_those_in_flight_leave_too_little_whoever_waits_is_refused():
    _, _, (one,) = attempts("0.025", "a")

    async def calls():
        first, second = await one.begin(10), await one.begin(10)
        waiting = [asyncio.create_task(one.begin(10)) for _ in range(3)]
        while len(one.purse._waiting) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0)
        one.lost(first)
        one.answered(second, 10)
        return await asyncio.gather(*waiting, return_exceptions=True)

    assert [type(error) for error in run(calls())] == [BudgetError] * 3


def test_of_many_calls_at_once_all_are_made_when_there_is_enough_in_the_end():
    store, _, (one,) = attempts("0.1", "a")

    async def call():
        reserved = await one.begin(10)
        await asyncio.sleep(0)
        one.answered(reserved, 1)

    async def calls():
        await asyncio.gather(*(call() for _ in range(90)))

    run(calls())
    one.end()
    assert shares(store).spent_usd == Decimal("0.09")


def test_a_call_of_unknown_outcome_counts_at_its_worst():
    store, _, (one,) = attempts("1", "a")
    one.lost(run(one.begin(10)))
    one.refused(run(one.begin(10)))
    one.end()
    assert (shares(store).spent_usd, shares(store).attempts) == (Decimal("0.010"), {})


def test_an_answer_without_token_counts_costs_the_worst_case():
    store, _, (one,) = attempts("1", "a")
    one.answered(run(one.begin(10)), None)
    one.end()
    assert shares(store).spent_usd == Decimal("0.010")


def test_an_answer_that_costs_more_than_its_worst_case_is_counted_as_it_is(caplog):
    store, _, (one,) = attempts("1", "a")
    one.answered(run(one.begin(10)), 900)
    assert "more than its worst case" in caplog.text
    with pytest.raises(BudgetError):
        run(one.begin(200))
    one.end()
    assert shares(store).spent_usd == Decimal("0.9")


def test_the_document_is_written_seldom():
    store, _, (one,) = attempts("10", "a")
    for _ in range(500):
        one.answered(run(one.begin(10)), 10)
    one.end()
    assert store.writes < 40


def test_nothing_is_written_when_nothing_is_paid():
    store, _, (one,) = attempts("1", "a")
    one.end()
    assert store.files == {}


def test_two_attempts_share_what_is_left():
    _, _, (one, two) = attempts("0.05")
    one.answered(run(one.begin(20)), 20)
    two.answered(run(two.begin(20)), 20)
    one.end()
    two.answered(run(two.begin(10)), 10)
    with pytest.raises(BudgetError):
        run(two.begin(1))


def test_a_call_waits_a_while_for_other_attempts_and_is_worth_another_try():
    _, clock, (one, two) = attempts("0.05")
    run(one.begin(40))

    async def beating(seconds):
        clock.now += seconds
        if clock.now > 30:
            one.purse._good_until = 0
            one.answered(await one.begin(1), 0)

    two.purse._pause = beating
    with pytest.raises(BudgetHeldError, match="XCS733") as caught:
        run(two.begin(20))
    assert caught.value.retryable
    assert clock.now >= 120


def test_what_another_attempt_gives_back_is_found_while_waiting():
    _, clock, (one, two) = attempts("0.05")
    reserved = run(one.begin(40))

    async def ending(seconds):
        clock.now += seconds
        one.answered(reserved, 1)
        one.end()

    two.purse._pause = ending
    assert run(two.begin(40)) == Decimal("0.040")


def test_what_a_dead_attempt_did_not_spend_is_free_once_its_lease_is_over():
    store, clock, (dead, heir) = attempts("0.1")
    reserved = run(dead.begin(10))
    dead.answered(reserved, 1)
    run(dead.begin(50))
    assert run(heir.begin(39)) == Decimal("0.039")
    assert clock.now == 0
    heir.answered(Decimal("0.039"), 1)
    # 0.001 settled, and one call in doubt: as much as the largest of this attempt, which is a quarter above what was asked for.
    assert run(heir.begin(30)) == Decimal("0.030")
    (left,) = [entry.usd for name, entry in shares(store).attempts.items() if "/a" in name]
    assert left <= Decimal("0.0635")


def test_the_books_of_a_dead_attempt_free_what_its_calls_did_not_cost():
    store, clock, (dead, heir) = attempts("0.1")
    dead.answered(run(dead.begin(90)), 1)
    assert run(heir.begin(95)) == Decimal("0.095")
    assert clock.now >= 90
    assert shares(store).attempts["t/a.jsonl"].usd == Decimal("0.001")


def test_an_attempt_that_closed_its_books_but_not_its_purse_is_buried():
    store, _, (dead, heir) = attempts("0.1")
    dead.answered(run(dead.begin(90)), 2)
    dead.ledger.close(price)
    heir.answered(run(heir.begin(95)), 1)
    assert set(shares(store).attempts) == {"t/b.jsonl"}
    assert shares(store).spent_usd == Decimal("0.002")
    dead.purse.close()
    assert shares(store).spent_usd == Decimal("0.002")


def test_an_attempt_that_slept_asks_before_it_spends_again():
    store, _, (sleeper, other) = attempts("0.1")
    sleeper.answered(run(sleeper.begin(60)), 1)
    other.answered(run(other.begin(95)), 95)
    with pytest.raises(BudgetError):
        run(sleeper.begin(40))
    assert shares(store).taken_usd <= Decimal("0.1")
    sleeper.answered(run(sleeper.begin(4)), 4)


def test_a_run_that_began_without_a_budget_counts_what_its_books_show():
    store = MemoryStore()
    _, _, (before,) = attempts("1", "x", store)
    before.ledger.intend(ACCOUNT, 2)
    before.ledger.settle(ACCOUNT, answer(30), "answered", billed_as=MODEL, seconds=0)
    before.ledger.flush()
    _, _, (one,) = attempts("0.05", "a", store)
    run(one.begin(10))
    assert shares(store).spent_usd == Decimal("0.040")
    _, _, (two,) = attempts("0.05", "b", store)
    with pytest.raises(BudgetError):
        run(two.begin(10))


def test_a_larger_budget_lets_a_run_go_on():
    store, _, (one,) = attempts("0.01", "a")
    one.answered(run(one.begin(10)), 10)
    with pytest.raises(BudgetError):
        run(one.begin(1))
    one.end()
    _, _, (two,) = attempts("0.02", "b", store)
    two.answered(run(two.begin(10)), 10)


def test_a_document_that_changes_under_the_writer_is_decided_anew():
    store, _, (one, two) = attempts("0.1")
    run(two.begin(1))
    lost_races = iter(range(5))

    def meddle():
        if next(lost_races, None) is not None:
            document = json.loads(store.files[BUDGET])
            store.files[BUDGET] = json.dumps({**document, "spent_usd": "0.09", "written_by": "somebody"}).encode()

    store.meddle = meddle
    with pytest.raises(BudgetError):
        run(one.begin(50))


def test_a_write_whose_confirmation_was_lost_gives_nothing_twice():
    store, _, (one, two) = attempts("1")
    run(two.begin(1))
    replace = store.replace
    answers = iter([False])
    store.replace = lambda *call: replace(*call) and next(answers, True)
    one.answered(run(one.begin(10)), 10)
    assert one.purse._granted == shares(store).attempts["t/a.jsonl"].usd
    one.end()
    two.end()
    assert shares(store).taken_usd == Decimal("0.011")


def test_what_the_store_does_not_take_back_is_left_for_others(caplog):
    store, _, (one, two) = attempts("0.1")
    one.answered(run(one.begin(90)), 1)

    def gone():
        raise StoreUnavailableError.because("XCS608", reason="down")

    store.meddle = gone
    one.end()
    assert "could not be given back" in caplog.text
    store.meddle = lambda: None
    assert run(two.begin(95)) == Decimal("0.095")


class TestBatches:
    def test_a_batch_is_held_beyond_the_attempt_at_its_own_price(self):
        store, _, (submit, other) = attempts("0.1")
        assert run(submit.purse.hold("batch-1", TARGET, [request(10)] * 18)) == Decimal("0.090")
        submit.end()
        with pytest.raises(BudgetHeldError):
            run(other.begin(20))
        run(other.purse.release("batch-1", Decimal("0.05")))
        assert (shares(store).spent_usd, shares(store).held) == (Decimal("0.05"), {})
        assert run(other.begin(50)) == Decimal("0.050")

    def test_what_is_held_twice_is_held_once_and_released_once(self):
        store, _, (one, two) = attempts("0.1")
        for attempt in (one, two):
            run(attempt.purse.hold("batch-1", TARGET, [request(10)] * 18))
        assert shares(store).taken_usd == Decimal("0.090")
        for attempt in (one, two):
            run(attempt.purse.release("batch-1", None))
        assert shares(store).spent_usd == Decimal("0.090")

    def test_a_batch_that_does_not_fit_is_refused_as_a_whole(self):
        store, _, (one,) = attempts("0.1", "a")
        with pytest.raises(BudgetError, match=r"up to 0\.105 USD"):
            run(one.purse.hold("batch-1", TARGET, [request(10)] * 21))
        assert store.files == {}


def test_many_threads_with_purses_of_their_own_never_overspend(tmp_path):
    """Thousands of calls of random cost on one budget in a real store: every one that was made is paid."""
    budget, threads = Decimal("0.9"), 6
    paid = Counter()

    def spend(name):
        store = LocalStore(tmp_path)
        attempt = Attempt(store, name, budget, FastClock())

        async def call(number):
            reserved = await attempt.begin(10)
            await asyncio.sleep(0)
            tokens = (number * 7 + int(name[1:])) % 11
            paid[name] += tokens
            attempt.answered(reserved, tokens)

        async def calls():
            for first in range(0, 400, 8):
                await asyncio.gather(*(call(first + offset) for offset in range(8)))

        try:
            asyncio.run(calls())
        except BudgetError:
            pass
        finally:
            attempt.end()

    workers = [threading.Thread(target=spend, args=(f"w{index}",)) for index in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    left = Allotments.model_validate_json((tmp_path / BUDGET).read_bytes())
    assert left.attempts == {}
    assert left.spent_usd == sum(paid.values()) * PER_TOKEN
    assert budget - Decimal("0.3") < left.spent_usd <= budget
