"""Budgets under adverse schedules: whoever stalls, dies or sleeps at whatever moment, what was really paid never exceeds the budget."""

import asyncio
import threading
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, settings, target
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from xcs_airflow.manifest import CacheRule
from xcs_airflow.runtime.allotments import Allotments
from xcs_airflow.runtime.books import total
from xcs_airflow.runtime.budget import BudgetError
from xcs_airflow.runtime.ledger import Ledger
from xcs_airflow.runtime.line import Line
from xcs_airflow.runtime.models import ModelAnswer
from xcs_airflow.runtime.pacing import Pacing
from xcs_airflow.runtime.purse import RunPurse
from xcs_airflow.runtime.question import Question
from xcs_airflow.runtime.segments import all_books
from xcs_airflow.runtime.settings import RuntimeSettings
from xcs_airflow.runtime.slots import Slots

from .money import ACCOUNT, FOLDER, PER_TOKEN, TARGET, Attempt, Clock, MemoryStore, price, request

BUDGET = Decimal("0.1")
LEDGER = f"{FOLDER}/ledger"


class BusyError(Exception):
    """It would wait for a call of its own, which this schedule has not ended."""


class Purse(RunPurse):
    async def _ending(self, ends):
        raise BusyError


class Call:
    """One call on its way: what was set aside, whether its intent is written, what it really costs once it is sent."""

    def __init__(self, attempt, reserved):
        self.attempt = attempt
        self.reserved = reserved


class Batch:
    """A provider's batch: what is held for it under its name, and what it really costs once it is submitted."""

    def __init__(self, name, size):
        self.name = name
        self.requests = [request(10)] * size
        self.held = Decimal(0)
        self.cost = Decimal(0)


class Spending(RuleBasedStateMachine):
    """Attempts take the steps of their calls in any order, and time passes between any two of them."""

    attempts = Bundle("attempts")
    reserved = Bundle("reserved")
    announced = Bundle("announced")
    sent = Bundle("sent")

    def __init__(self):
        super().__init__()
        self.store = MemoryStore()
        self.clock = Clock()
        self.paid = Decimal(0)
        self.dead = set()
        self.started = 0

    @initialize(target=attempts)
    def begin(self):
        return multiple(self.new(), self.new())

    def new(self):
        self.started += 1
        return Attempt(self.store, f"a{self.started}", BUDGET, self.clock, Purse)

    @rule(target=attempts)
    def start(self):
        return self.new() if self.started < 5 else multiple()

    @rule(target=reserved, attempt=attempts, tokens=st.sampled_from([1, 20, 60]))
    def reserve(self, attempt, tokens):
        try:
            return Call(attempt, asyncio.run(attempt.purse.reserve(TARGET, request(tokens))))
        except (BudgetError, BusyError):
            return multiple()

    @rule(target=announced, call=consumes(reserved))
    def announce(self, call):
        if call.attempt in self.dead:
            return multiple()
        call.attempt.ledger.intend(ACCOUNT, 1)
        call.attempt.ledger.flush()
        return call

    @rule(target=sent, call=consumes(announced), part=st.sampled_from([1, Decimal("0.5"), 0]))
    def send(self, call, part):
        """What a call costs is decided by whoever answers it, and owed as soon as it is sent."""
        if call.attempt in self.dead:
            return multiple()
        if not call.attempt.purse.still_has(call.reserved):
            call.attempt.ledger.give_back(ACCOUNT, 1)
            call.attempt.purse.unpaid(call.reserved)
            return multiple()
        call.tokens = int(call.reserved / PER_TOKEN * part)
        self.paid += call.tokens * PER_TOKEN
        return call

    @rule(target=sent, attempt=attempts, tokens=st.sampled_from([20, 60]))
    def call_at_once(self, attempt, tokens):
        """The usual case: nothing happens between the steps."""
        call = self.reserve(attempt, tokens)
        return call if call == multiple() else self.send(self.announce(call), 1)

    @rule(call=consumes(sent), is_lost=st.booleans())
    def end_call(self, call, is_lost):
        if call.attempt not in self.dead:
            call.attempt.lost(call.reserved) if is_lost else call.attempt.answered(call.reserved, call.tokens)

    @rule(seconds=st.sampled_from([31, 61, 91]))
    def wait(self, seconds):
        self.clock.now += seconds

    @rule(attempt=consumes(attempts))
    def kill(self, attempt):
        self.dead.add(attempt)

    @rule(attempt=consumes(attempts))
    def end_attempt(self, attempt):
        self.dead.add(attempt)
        attempt.end()

    @invariant()
    def never_overspends(self):
        assert self.paid <= BUDGET
        if f"{FOLDER}/budget.json" in self.store.files:
            shares = Allotments.model_validate_json(self.store.files[f"{FOLDER}/budget.json"])
            assert self.paid <= shares.taken_usd <= BUDGET

    def teardown(self):
        target(float(self.paid), label="what was paid")


class SpendingOnBatches(Spending):
    """The same, with batches whose money is held by their names, whoever submits and collects them."""

    batches = Bundle("batches")

    def __init__(self):
        super().__init__()
        self.batched = 0

    @rule(target=batches, attempt=Spending.attempts, size=st.integers(1, 8))
    def hold(self, attempt, size):
        self.batched += 1
        batch = Batch(f"batch-{self.batched}", size)
        try:
            batch.held = asyncio.run(attempt.purse.hold(batch.name, TARGET, batch.requests))
        except BudgetError:
            return multiple()
        return batch

    @rule(attempt=Spending.attempts, batch=batches)
    def hold_again(self, attempt, batch):
        """As the next attempt does, which does not know whether the one before it came that far."""
        assert asyncio.run(attempt.purse.hold(batch.name, TARGET, batch.requests)) == batch.held

    @rule(batch=batches, part=st.sampled_from([1, Decimal("0.5")]))
    def submit(self, batch, part):
        if not batch.cost:
            batch.cost = batch.held * part
            self.paid += batch.cost

    @rule(attempt=Spending.attempts, batch=consumes(batches), is_known=st.booleans())
    def release(self, attempt, batch, is_known):
        for _ in range(2):
            asyncio.run(attempt.purse.release(batch.name, batch.cost if is_known else None))


# Steps that take a thread are slow to start where the machine is busy.
HOW = settings(max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck))
Spending.TestCase.settings = SpendingOnBatches.TestCase.settings = HOW
TestSpending = Spending.TestCase
TestSpendingOnBatches = SpendingOnBatches.TestCase


class Stalling:
    """The segment of an attempt that stalls before its first intent is written."""

    lines_per_flush = 1

    def __init__(self, inner, stall):
        self.inner = inner
        self.stall = stall

    def write(self, *lines):
        stall, self.stall = self.stall, None
        if stall is not None:
            stall()
        self.inner.write(*lines)

    def flush(self):
        self.inner.flush()

    def close(self):
        self.inner.close()


class Model:
    def __init__(self):
        self.calls = 0

    def complete(self, request):
        self.calls += 1
        return ModelAnswer("x", 1, request.max_tokens)


@pytest.mark.parametrize(("left", "is_called"), [(10, False), (60, True)])
def test_a_line_that_stalls_between_setting_aside_and_writing_down_asks_again(monkeypatch, call, left, is_called):
    """While it stalled, another attempt took what it had set aside: it calls only if there is still enough."""
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    store, clock, model = MemoryStore(), Clock(), Model()
    heir = Attempt(store, "heir", BUDGET, clock)
    name = f"{LEDGER}/t/line.jsonl"

    def stall():
        taking = threading.Thread(target=lambda: asyncio.run(heir.begin(100 - left)))
        taking.start()
        taking.join()
        heir.answered((100 - left) * PER_TOKEN, 100 - left)
        heir.end()
        clock.now += 100

    ledger = Ledger(lambda: Stalling(store.appender(name), stall))
    purse = RunPurse(store, FOLDER, name, BUDGET, price, clock=clock, pause=clock.pause)
    question = Question("classify", call(max_tokens=50), CacheRule(), RuntimeSettings(), 1)
    line = Line(model, Pacing(8), Slots(8), ledger, purse)

    async def ask():
        reply = await line.ask(question, question.request([{"role": "user", "content": "x"}]), 1)
        line.settle(question, reply, "answered")

    if is_called:
        asyncio.run(ask())
    else:
        with pytest.raises(BudgetError, match="XCS730"):
            asyncio.run(ask())
    line.close()
    ledger.close(price)
    purse.close()
    used = total(usage for _, books in all_books(store, LEDGER, price) for usage in books.usage(price))
    assert (model.calls, used.possibly_billed) == (int(is_called), 0)
    assert store.files[name].count(b'"calls": -1') == 1
    shares = Allotments.model_validate_json(store.files[f"{FOLDER}/budget.json"])
    assert shares.spent_usd == used.billed_cost_usd == Decimal("0.09")
