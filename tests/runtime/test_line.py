import asyncio
import json

import pytest

from xcs_airflow.errors import ModelError, ModelUnavailableError
from xcs_airflow.manifest import CacheRule
from xcs_airflow.runtime.books import Books
from xcs_airflow.runtime.ledger import Ledger
from xcs_airflow.runtime.line import Line
from xcs_airflow.runtime.models import AttemptError, ModelAnswer
from xcs_airflow.runtime.pacing import Pacing
from xcs_airflow.runtime.question import Question
from xcs_airflow.runtime.slots import Slots

MESSAGES = [{"role": "user", "content": "x"}]


class Script:
    """Answers in order; waiting costs no time."""

    def __init__(self, *replies):
        self.replies = list(replies)
        self.now = 0.0
        self.slept = []

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds

    def complete(self, request):
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply


class Memory:
    """A segment of the ledger in memory."""

    def __init__(self, lines_per_flush=1):
        self.lines_per_flush = lines_per_flush
        self.lines = []
        self.flushed = 0

    def write(self, *lines):
        self.lines += lines

    def flush(self):
        self.flushed = len(self.lines)

    def close(self):
        self.flush()


def busy(**facts):
    return AttemptError("HTTP 503", blame="busy", **facts)


def limited(retry_after_s=None):
    return busy(is_limit=True, retry_after_s=retry_after_s)


OK = ModelAnswer("ok", 10, 2)


@pytest.fixture
def line(monkeypatch, settings, call):
    """Gives a line to a script, and a function that asks it."""
    monkeypatch.setenv("OPENAI_API_KEY", "x")

    def make(script, *, in_flight=8, appender=None, attempts=5):
        question = Question("step", call(), CacheRule(), settings, attempts)
        pacing = Pacing(in_flight, clock=lambda: script.now, sleep=script.sleep)
        made = Line(script, pacing, Slots(in_flight), Ledger((lambda: appender) if appender else None))
        monkeypatch.setattr("xcs_airflow.runtime.line.asyncio.sleep", script.sleep)

        async def ask(remaining=1):
            return await made.ask(question, question.request(MESSAGES), remaining)

        ask.question = question
        return made, pacing, ask

    return make


def test_waiting_follows_the_server_where_it_says_how_long(line):
    script = Script(limited(7), busy(retry_after_s=3), OK)
    _, pacing, ask = line(script)
    assert asyncio.run(ask()).answer is OK
    assert [seconds for seconds in script.slept if seconds] == [7, 3]
    assert pacing.allowed == 4


def test_a_server_that_asks_for_no_patience_gets_some_all_the_same(line, monkeypatch):
    monkeypatch.setattr("xcs_airflow.runtime.line.backoff_s", lambda attempt: 2**attempt)
    script = Script(limited(0), busy(retry_after_s=0), OK)
    _, _, ask = line(script)
    assert asyncio.run(ask()).answer is OK
    assert [seconds for seconds in script.slept if seconds] == [4, 8]


def test_a_server_that_wants_more_patience_than_a_container_is_worth_gets_the_task_back(line):
    _, _, ask = line(Script(limited(3600)))
    with pytest.raises(ModelUnavailableError, match="after 1 attempts"):
        asyncio.run(ask())


def test_being_told_to_slow_down_is_no_failure_while_others_get_through(line):
    script = Script(*[limited(1)] * 9, OK)
    _, pacing, ask = line(script)
    original = script.complete

    def complete(request):
        pacing.speed_up()
        return original(request)

    script.complete = complete
    assert asyncio.run(ask()).answer is OK


def test_being_told_to_slow_down_ends_when_nobody_gets_through(line):
    _, _, ask = line(Script(*[limited(1)] * 9))
    with pytest.raises(ModelUnavailableError, match="after 5 attempts"):
        asyncio.run(ask())


def test_attempts_are_those_of_the_step(line):
    _, _, ask = line(Script(busy(), busy(), OK), attempts=2)
    with pytest.raises(ModelUnavailableError, match="after 2 attempts"):
        asyncio.run(ask())


@pytest.mark.parametrize(("blame", "is_stopped"), [("row", False), ("route", True)])
def test_only_what_concerns_every_request_stops_the_line(line, blame, is_stopped):
    made, _, ask = line(Script(AttemptError("no", blame=blame)))
    with pytest.raises(ModelError) as caught:
        asyncio.run(ask())
    made.note(caught.value)
    assert (made.stopped is not None) == is_stopped


def test_every_attempt_is_written_down_before_and_after(line):
    memory = Memory()
    script = Script(busy(may_be_billed=True), OK)
    made, _, ask = line(script, appender=memory)
    reply = asyncio.run(ask())
    assert [line.split(b'"')[3] for line in memory.lines] == [b"intent", b"settled", b"intent"]
    made.settle(ask.question, reply, "answered")
    made._ledger.settled()
    assert [line.split(b'"')[3] for line in memory.lines] == [b"intent", b"settled", b"intent", b"settled"]
    assert b'"unknown"' in memory.lines[1]
    assert b'"answered"' in memory.lines[3]


def test_calls_that_begin_together_are_announced_with_one_write(line):
    memory = Memory()
    _, _, ask = line(Script(*[OK] * 8), appender=memory)

    async def run():
        await asyncio.gather(*(ask() for _ in range(8)))

    asyncio.run(run())
    (intent,) = memory.lines
    assert json.loads(intent)["calls"] == 8


def test_no_call_begins_before_its_intent_is_kept(line):
    memory = Memory()
    kept = []
    script = Script(*[OK] * 3)
    original = script.complete

    def complete(request):
        kept.append(sum(json.loads(record)["calls"] for record in memory.lines[: memory.flushed]))
        return original(request)

    script.complete = complete
    _, _, ask = line(script, appender=memory)

    async def run():
        for _ in range(3):
            await ask()

    asyncio.run(run())
    assert kept == [1, 2, 3]


def test_a_call_that_is_stopped_before_it_began_is_not_in_doubt(line):
    memory = Memory()
    made, _, ask = line(Script(OK, OK), appender=memory)

    async def run():
        calls = [asyncio.create_task(ask()) for _ in range(2)]
        await asyncio.sleep(0)
        calls[0].cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        return calls[1].result()

    made.settle(ask.question, asyncio.run(run()), "answered")
    made._ledger.settled()
    (usage,) = Books.read(memory.lines).usage(lambda *_, **__: None)
    assert (usage.calls, usage.possibly_billed) == (1, 0)


def test_a_ledger_that_cannot_be_written_keeps_calls_from_being_made(line):
    memory = Memory()
    memory.flush = lambda: 1 / 0
    script = Script(OK)
    made, _, ask = line(script, appender=memory)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(ask())
    assert script.replies == [OK]
    del memory.flush
    made._ledger.settled()
    (usage,) = Books.read(memory.lines).usage(lambda *_, **__: None)
    assert usage.possibly_billed == 0


def test_an_answer_keeps_its_place_until_its_call_is_settled(line):
    made, _, ask = line(Script(OK, OK), in_flight=1, appender=Memory())

    async def run():
        first = await ask()
        second = asyncio.ensure_future(ask())
        for _ in range(10):
            await asyncio.tasks.sleep(0)
        assert not second.done()
        made.settle(ask.question, first, "answered")
        return await asyncio.wait_for(second, 20)

    assert asyncio.run(run()).answer is OK


def test_an_attempt_that_fails_leaves_its_place(line):
    _, _, ask = line(Script(AttemptError("no", blame="row"), OK), in_flight=1)

    async def run():
        with pytest.raises(ModelError):
            await ask()
        return await asyncio.wait_for(ask(), 20)

    assert asyncio.run(run()).answer is OK


def test_where_keeping_a_record_is_slow_one_intent_announces_many_calls(line):
    memory = Memory(lines_per_flush=64)
    made, _, ask = line(Script(*[OK] * 5), appender=memory)
    flushed = []

    async def run():
        for remaining in (5, 4, 3):
            await ask(remaining)
            flushed.append(memory.flushed)

    asyncio.run(run())
    made.close()
    made._ledger.flush()
    intents = [line for line in memory.lines if b'"intent"' in line]
    assert [b'"calls": 5' in intents[0], b'"calls": -2' in intents[1]] == [True, True]
    assert len(intents) == 2
    assert flushed == [1, 1, 1]


def test_who_waits_for_a_route_holds_no_place_of_the_task(line):
    """Of two routes that share the places of a task, one is paused; the other goes on."""
    script = Script(OK)
    made, pacing, ask = line(script, in_flight=1)
    gate = asyncio.Event()

    async def paused(seconds):
        await gate.wait()
        script.now += seconds

    pacing._sleep = paused
    pacing.slow_down(0.0, 60)

    async def run():
        waiting = asyncio.create_task(ask())
        for _ in range(5):
            await asyncio.wait([waiting], timeout=0)
        other = await asyncio.wait_for(made._slots.take(), 5)
        gate.set()
        other.leave()
        return await waiting

    assert asyncio.run(run()).answer is OK
