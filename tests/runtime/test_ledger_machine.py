"""The ledger of a run against a simple model: attempts write, end, and are killed in any order, and the sums are those of what was kept."""

import shutil
import tempfile
from collections import Counter
from decimal import Decimal
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule
from obstore.store import MemoryStore

from xcs_airflow.runtime.books import Account, Usage, summed, total
from xcs_airflow.runtime.ledger import Ledger
from xcs_airflow.runtime.models import ModelAnswer
from xcs_airflow.runtime.object_store import ObjectStore
from xcs_airflow.runtime.runs import Run
from xcs_airflow.runtime.segments import all_books
from xcs_airflow.runtime.store import LocalStore
from xcs_airflow.runtime.usage import usage_in

_MOST_ATTEMPTS = 4
RUN = Run.named("p", "r")
KNOWN, UNKNOWN = "openai/gpt-4.1-mini", "nobody/model"
USUAL = Account("a", KNOWN)
ACCOUNTS = [USUAL, USUAL, USUAL, Account("b", KNOWN), Account("a", UNKNOWN), Account("a", KNOWN, "provider_batch")]


def price(model, given, made, cached, *, written_tokens=0, hour_tokens=0, is_batch=False):
    return None if model == UNKNOWN else Decimal(given + 10 * made) / (2 if is_batch else 1)


class Simple:
    """What one attempt has kept of one account, as one would count on paper."""

    def __init__(self):
        self.counts = Counter()
        self.answers = []
        self.saved = []

    def usage(self, account):
        counts = self.counts
        doubt = counts["calls"] - counts["answered"] - counts["discarded"] - counts["refused"]
        is_batch = account.mechanism == "provider_batch"
        costs = [price(account.model, *tokens, 0, is_batch=is_batch) for _, tokens in self.answers]
        known = [cost for cost in costs if cost is not None]
        live = [price(account.model, *tokens, 0) for _, tokens in self.answers]
        wasted = [cost or 0 for cost, (outcome, _) in zip(costs, self.answers, strict=True) if outcome == "discarded"]
        worth = [(by, (price(account.model, *tokens, 0) or 0) * count) for by, tokens, count in self.saved]
        return Usage(
            *account,
            rows=counts["rows"],
            hits=counts["hits"],
            duplicates=counts["duplicates"],
            calls=counts["answered"],
            discarded=counts["discarded"],
            refused=counts["refused"],
            possibly_billed=doubt,
            input_tokens=sum(given for _, (given, _) in self.answers),
            output_tokens=sum(made for _, (_, made) in self.answers),
            list_cost_usd=sum((cost for cost in live if cost is not None), start=Decimal(0)),
            billed_cost_usd=sum(known, start=Decimal(0)),
            wasted_cost_usd=sum(wasted, start=Decimal(0)),
            possibly_billed_cost_usd=max(known, default=Decimal(0)) * doubt,
            saved_by_hits_usd=sum((amount for by, amount in worth if by == "hits"), start=Decimal(0)),
            saved_by_duplicates_usd=sum((amount for by, amount in worth if by == "duplicates"), start=Decimal(0)),
            saved_by_batch_usd=sum((cost for cost in live if cost is not None), start=Decimal(0)) - sum(known) if is_batch else Decimal(0),
            calls_without_list_price=live.count(None),
            calls_without_billed_price=costs.count(None),
            possibly_billed_without_cost=doubt if not known else 0,
        )


class Attempt:
    """A ledger, the records that it was given and how many of them are kept."""

    def __init__(self, store, name):
        self.name = f"{RUN.folder}/ledger/{name}"
        self.ledger = Ledger(lambda: store.appender(self.name), price)
        self.records = []
        self.kept = 0
        self.open_calls = Counter()
        self.is_closed = False

    def note(self, account, change):
        self.records.append((account, change))

    def flush(self):
        self.kept = len(self.records)

    @property
    def expected(self):
        """What its kept records add up to, by account."""
        simple = {}
        for account, change in self.records[: self.kept]:
            change(simple.setdefault(account, Simple()))
        return [found.usage(account) for account, found in simple.items()]


def counting(**counts):
    return lambda simple: simple.counts.update(counts)


def answering(outcome, tokens):
    def change(simple):
        simple.counts[outcome] += 1
        simple.answers.append((outcome, tokens))

    return change


class Books(RuleBasedStateMachine):
    """Writes what a line, a session and a task write, in any order that they may."""

    attempts = Bundle("attempts")
    can_tear = True

    def __init__(self):
        super().__init__()
        self.all = []
        self.folder = None
        self.store = self.open()

    def open(self):
        self.folder = Path(tempfile.mkdtemp())
        return LocalStore(self.folder)

    @rule(target=attempts, task=st.sampled_from(["t", "u"]), number=st.integers(1, 2))
    def start(self, task, number):
        """The same attempt started again is another segment."""
        if len(self.all) >= _MOST_ATTEMPTS:
            return multiple()
        attempt = Attempt(self.store, f"{task}/0-of-1.{number}.{len(self.all):012x}.jsonl")
        self.all.append(attempt)
        return attempt

    @rule(attempt=attempts, account=st.sampled_from(ACCOUNTS), calls=st.integers(1, 8), is_flushed=st.booleans())
    def intend(self, attempt, account, calls, is_flushed):
        attempt.ledger.intend(account, calls)
        attempt.note(account, counting(calls=calls))
        attempt.open_calls[account] += calls
        if is_flushed:
            self.flush(attempt)

    @rule(
        attempt=attempts,
        account=st.sampled_from(ACCOUNTS),
        outcome=st.sampled_from(["answered", "discarded"]),
        answers=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=4),
    )
    def settle(self, attempt, account, outcome, answers):
        for tokens in answers[: attempt.open_calls[account]]:
            attempt.ledger.settle(account, ModelAnswer("x", *tokens), outcome, billed_as=account.model, seconds=0.1)
            attempt.open_calls[account] -= 1
            attempt.note(account, answering(outcome, tokens))

    @rule(attempt=attempts, account=st.sampled_from(ACCOUNTS), outcome=st.sampled_from(["refused", "unknown"]))
    def fail(self, attempt, account, outcome):
        if attempt.open_calls[account]:
            attempt.ledger.fail(account, outcome, "HTTP 400")
            attempt.open_calls[account] -= 1
            attempt.note(account, counting(**{outcome: 1}))

    @rule(attempt=attempts, account=st.sampled_from(ACCOUNTS))
    def give_back(self, attempt, account):
        calls = attempt.open_calls.pop(account, 0)
        attempt.ledger.give_back(account, calls)
        if calls:
            attempt.note(account, counting(calls=-calls))

    @rule(attempt=attempts, account=st.sampled_from(ACCOUNTS), by=st.sampled_from(["hits", "duplicates"]), answers=st.integers(1, 4))
    def take_from_others(self, attempt, account, by, answers):
        attempt.ledger.note(account, rows=answers, **{"hits": 0, "duplicates": 0, by: answers})
        attempt.note(account, counting(**{"rows": answers, by: answers}))
        attempt.ledger.save(account, by, {(2, 1): answers})
        attempt.note(account, lambda simple: simple.saved.append((by, (2, 1), answers)))

    @rule(attempt=attempts)
    def flush(self, attempt):
        attempt.ledger.flush()
        attempt.flush()

    @rule(attempt=consumes(attempts))
    def close(self, attempt):
        attempt.ledger.close(price)
        attempt.flush()
        attempt.is_closed = bool(attempt.records)

    @rule(attempt=consumes(attempts), part=st.floats(0, 1))
    def kill(self, attempt, part):
        """What was not flushed is lost, but for a part of it that the system took, which may end within a line."""
        if not self.can_tear or not attempt.ledger._lines:
            return
        waiting = b"".join(line.encode() + b"\n" for line in attempt.ledger._lines)
        taken = waiting[: int(len(waiting) * part)]
        path = self.folder / attempt.name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(taken)
        # A line without its end is whole, if all of it is there.
        attempt.kept += sum(end <= len(taken) for end in _ends(waiting))

    @invariant()
    def sums_are_those_of_what_was_kept(self):
        used = usage_in(self.store, price, RUN)
        expected = summed(usage for attempt in self.all for usage in attempt.expected)
        assert list(used.operations) == expected
        assert all(usage.possibly_billed >= 0 for usage in used.operations)
        assert used.open_attempts == used.attempts - sum(attempt.is_closed for attempt in self.all)

    @invariant()
    def the_order_and_the_grouping_of_segments_do_not_matter(self):
        usages = [books.usage(price) for _, books in all_books(self.store, f"{RUN.folder}/ledger", price)]
        flat = [usage for found in usages for usage in found]
        assert summed(reversed(flat)) == summed(flat) == summed(summed(flat))
        half = len(flat) // 2
        assert summed([*summed(flat[:half]), *summed(flat[half:])]) == summed(flat)
        assert total(flat) == total(summed(flat))

    def teardown(self):
        if self.folder is not None:
            shutil.rmtree(self.folder)


class BooksInABucket(Books):
    """The same where a file is many objects, each of which is there or not."""

    can_tear = False

    def open(self):
        return ObjectStore(MemoryStore(), "memory://")


def _ends(lines):
    """Where each line ends, without its line end."""
    return [index for index, byte in enumerate(lines) if byte == ord("\n")]


HOW = settings(max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck))
Books.TestCase.settings = BooksInABucket.TestCase.settings = HOW
TestBooks = Books.TestCase
TestBooksInABucket = BooksInABucket.TestCase
