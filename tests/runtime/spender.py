"""A process that spends from the budget of a run: `python -m tests.runtime.spender STORE BILLS NAME BUDGET CALLS ACT`.

Every call that is made appends its cost to a file of its own before anything else happens to it, as a provider would: what stands there
is what was really paid. ACT is `spend`, or `hang`: set money aside for all calls, announce and send one, and wait to be killed.
"""

import asyncio
import os
import random
import sys
from decimal import Decimal
from pathlib import Path

from xcs_airflow.runtime.budget import BudgetError, BudgetHeldError
from xcs_airflow.runtime.store import open_store

from .money import ACCOUNT, TARGET, Attempt, FastClock, request

LARGEST = 10


def say(word):
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


class Provider:
    """Answers, and remembers what it is owed where a killed process cannot lose it."""

    def __init__(self, bill):
        self.descriptor = os.open(bill, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def answer(self, tokens):
        os.write(self.descriptor, f"{tokens}\n".encode())


async def call(attempt, provider, chance):
    """One call, with its steps in the order a line keeps."""
    while True:
        try:
            reserved = await attempt.purse.reserve(TARGET, request(LARGEST))
        except BudgetHeldError:
            continue  # a platform would start the task again
        attempt.ledger.intend(ACCOUNT, 1)
        await asyncio.to_thread(attempt.ledger.flush)
        if attempt.purse.still_has(reserved):
            break
        attempt.ledger.give_back(ACCOUNT, 1)
        attempt.purse.unpaid(reserved)
    tokens = chance.randint(1, LARGEST)
    provider.answer(tokens)
    await asyncio.sleep(chance.random() / 100)
    attempt.answered(reserved, tokens)


async def spend(attempt, provider, calls, chance):
    for _ in range(0, calls, 4):
        await asyncio.gather(*(call(attempt, provider, chance) for _ in range(4)))


async def hang(attempt, provider, calls):
    for _ in range(calls):
        await attempt.purse.reserve(TARGET, request(LARGEST))
    attempt.ledger.intend(ACCOUNT, 1)
    attempt.ledger.flush()
    provider.answer(LARGEST)
    say("hanging")
    await asyncio.sleep(600)


def main(address, folder, name, budget, calls, act):
    attempt = Attempt(open_store(address), name, Decimal(budget), FastClock(20))
    provider = Provider(Path(folder, f"{name}.bill"))
    say("ready")
    sys.stdin.readline()
    work = hang(attempt, provider, int(calls)) if act == "hang" else spend(attempt, provider, int(calls), random.Random(name))
    try:
        asyncio.run(work)
    except BudgetError as error:
        say(error.code)
    finally:
        attempt.end()


if __name__ == "__main__":
    main(*sys.argv[1:])
