"""What the tests of budgets need: a store in memory, models with simple prices, attempts whose clocks stand still."""

import asyncio
import threading
import time
from decimal import Decimal

from xcs_airflow.runtime.books import Account
from xcs_airflow.runtime.ledger import Ledger
from xcs_airflow.runtime.models import ModelAnswer, ModelRequest
from xcs_airflow.runtime.models.routes import Target
from xcs_airflow.runtime.purse import RunPurse
from xcs_airflow.runtime.settings import ModelRoute

MODEL = "openai/gpt-4.1-mini"
TARGET = Target(MODEL, MODEL, "openai", "gpt-4.1-mini", "https://host/v1", ModelRoute())
ACCOUNT = Account("classify", MODEL)
FOLDER = "runs/p/r"
PER_TOKEN = Decimal("0.001")


def price(model, given, made, cached=0, *, written_tokens=0, hour_tokens=0, is_batch=False):
    """Output costs a thousandth of a dollar a token, input nothing; a batch costs half."""
    if model != MODEL:
        return None
    return made * PER_TOKEN / (2 if is_batch else 1)


def request(max_tokens=10, text="x"):
    return ModelRequest(MODEL, [{"role": "user", "content": text}], max_tokens=max_tokens)


def answer(tokens):
    return ModelAnswer("x", 1, tokens)


class MemoryStore:
    """A store in memory, as far as budgets and ledgers use one; `meddle` may do something before each conditional write."""

    def __init__(self):
        self.files = {}
        self.writes = 0
        self.meddle = lambda: None
        self._lock = threading.RLock()

    def load(self, name):
        with self._lock:
            return (self.files[name], self.files[name]) if name in self.files else None

    def create(self, name, data):
        with self._lock:
            self.writes += 1
            return self.files.setdefault(name, data) is data

    def replace(self, name, data, version):
        self.meddle()
        with self._lock:
            self.writes += 1
            if self.files.get(name) != version:
                return False
            self.files[name] = data
            return True

    def list(self, prefix):
        return iter(sorted(name for name in self.files if name.startswith(f"{prefix}/")))

    def chunks(self, name):
        yield self.files[name]

    def appender(self, name):
        store = self

        class Appender:
            lines_per_flush = 1

            def write(self, *lines):
                store.files[name] = store.files.get(name, b"") + b"".join(line + b"\n" for line in lines)

            def flush(self):
                pass

            def close(self):
                pass

        return Appender()


class Clock:
    """Time passes when somebody waits."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    async def pause(self, seconds):
        self.now += seconds


class FastClock:
    """Real time, but faster: all attempts of a machine agree about it."""

    def __init__(self, times=40):
        self.times = times

    def __call__(self):
        return time.monotonic() * self.times

    async def pause(self, seconds):
        await asyncio.sleep(seconds / self.times)


class Attempt:
    """An attempt that spends: its purse and its books, in the order a line keeps."""

    def __init__(self, store, name, budget, clock, kind=RunPurse):
        self.ledger = Ledger(lambda: store.appender(f"{FOLDER}/ledger/t/{name}.jsonl"))
        self.purse = kind(store, FOLDER, f"{FOLDER}/ledger/t/{name}.jsonl", Decimal(budget), price, clock=clock, pause=clock.pause)

    async def begin(self, max_tokens=10):
        reserved = await self.purse.reserve(TARGET, request(max_tokens))
        self.ledger.intend(ACCOUNT, 1)
        self.ledger.flush()
        return reserved

    def answered(self, reserved, tokens):
        self.ledger.settle(ACCOUNT, answer(tokens), "answered", billed_as=MODEL, seconds=0)
        self.ledger.flush()
        self.purse.paid(reserved, TARGET, answer(tokens))

    def lost(self, reserved):
        self.ledger.fail(ACCOUNT, "unknown", "lost")
        self.ledger.flush()
        self.purse.lost(reserved)

    def refused(self, reserved):
        self.ledger.fail(ACCOUNT, "refused", "HTTP 400")
        self.purse.unpaid(reserved)

    def end(self):
        self.ledger.close(price)
        self.purse.close()
