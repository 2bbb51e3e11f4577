import asyncio
from itertools import groupby

import pytest

from xcs_airflow.errors import ModelError
from xcs_airflow.ir import Graph, Operation, Parameter, ParameterSpec, Ref
from xcs_airflow.ir.llm_ops import BatchPolicy, LLMMetadata
from xcs_airflow.plan.lower import lower
from xcs_airflow.runtime import run_task, run_usage
from xcs_airflow.runtime.cache import CachedAnswer
from xcs_airflow.runtime.cache.memory import MemoryCache
from xcs_airflow.runtime.failures import Failure
from xcs_airflow.runtime.ledger import Ledger
from xcs_airflow.runtime.models import ModelAnswer
from xcs_airflow.runtime.question import Question
from xcs_airflow.runtime.session import Session
from xcs_airflow.runtime.store import StoreUnavailableError

from .running import asking


class Segment:
    """A segment of the ledger in memory."""

    lines_per_flush = 1

    def __init__(self):
        self.events = []

    def write(self, *lines):
        self.events += [line.split(b'"')[3].decode() for line in lines]

    def flush(self):
        pass

    def close(self):
        pass


class OtherProcess:
    """Claims of a cache in which somebody else asks for keys, until the test says otherwise."""

    def __init__(self, look):
        self.looks = 0
        self.released = set()
        self._look = look

    def take(self, keys):
        self.looks += 1
        return self._look(self.looks, set(keys))

    def release(self, keys):
        self.released.update(keys)

    def close(self):
        pass


@pytest.fixture
def cache(monkeypatch):
    """The cache of the session under test."""
    cache = MemoryCache()
    monkeypatch.setattr("xcs_airflow.runtime.session.cache_at", lambda *_: cache)
    return cache


@pytest.fixture
def answers(settings, call, rule):
    """Asks for tickets in a session of its own."""

    def ask(*tickets, segment=None, **options):
        question = Question("step", call(), rule, settings)

        async def run():
            ledger = Ledger((lambda: segment) if segment else None)
            async with Session(settings, 4, ledger, **options) as session:
                return await session.answers(question, [question.messages({"ticket": ticket}) for ticket in tickets])

        return asyncio.run(run())

    return ask


def test_prompts_that_begin_alike_are_asked_one_after_the_other(answers, model):
    """A provider's prompt cache keeps the beginning of a prompt for minutes: what shares one with another follows it."""
    asked = []
    model.reply = lambda request: asked.append(request.messages[-1]["content"]) or "yes"
    long, other = "a long document. ", "another long document. "
    given = [f"{text}Question {number}" for number in range(4) for text in (long, other)]
    assert answers(*given) == ["yes"] * 8
    assert asked == sorted(asked)


@pytest.fixture
def windows(settings, call, rule, model):
    """Asks for windows of tickets side by side in one session; gives what became of each. Every ticket that is asked for is shown first."""

    def ask(*windows, show):
        question = Question("step", call(), rule, settings)

        async def run():
            async with Session(settings, 2, Ledger()) as session:
                prompts = [[question.messages({"ticket": ticket}) for ticket in window] for window in windows]
                tasks = [asyncio.create_task(session.answers(question, window)) for window in prompts]
                model.reply = lambda request: show(request.messages[-1]["content"].split()[-1], tasks) or "yes"
                return await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 20)

        return asyncio.run(run())

    return ask


def test_a_window_begins_when_all_prompts_of_the_one_before_have_begun(windows):
    asked = []
    tickets = [[f"{name}{number}" for number in range(8)] for name in "abc"]
    assert windows(*tickets, show=lambda ticket, _: asked.append(ticket)) == [["yes"] * 8] * 3
    assert len(asked) == 24
    assert [name for name, _ in groupby(asked, key=lambda ticket: ticket[0])] == sorted("abc", key=lambda name: asked.index(f"{name}0"))


def test_a_window_that_is_stopped_holds_up_no_other(windows):
    def show(ticket, tasks):
        if ticket == "a0":
            tasks[0].cancel()

    stopped, *others = windows([f"a{number}" for number in range(8)], ["b"], ["c"], show=show)
    assert isinstance(stopped, asyncio.CancelledError)
    assert others == [["yes"], ["yes"]]


def test_an_answer_is_settled_only_when_it_is_safe(answers, cache, model, monkeypatch):
    segment = Segment()
    before = []
    put_many = cache.put_many

    def put(entries):
        before.append(segment.events.count("settled"))
        put_many(entries)

    monkeypatch.setattr(cache, "put_many", put)
    answers("a", segment=segment)
    assert before == [0]
    assert segment.events == ["rows", "intent", "settled"]


def test_answers_that_a_cache_did_not_take_are_given_to_it_again(answers, cache, model, monkeypatch):
    put_many, refused = cache.put_many, []

    def put(entries):
        if len(refused) < 3:
            refused.append(len(entries))
            raise StoreUnavailableError.because("XCS614", reason="database is locked")
        put_many(entries)

    monkeypatch.setattr(cache, "put_many", put)
    tickets = [str(index) for index in range(20)]
    assert answers(*tickets) == [f"WHICH TEAM? {ticket}" for ticket in tickets]
    assert refused == sorted(set(refused))
    assert len(list(cache.keys())) == 20
    answers(*tickets)
    assert model.calls == 20


def test_books_that_cannot_be_kept_end_the_task_and_not_its_patience(answers, cache, model, monkeypatch):
    """The answers that came are remembered all the same."""
    segment = Segment()

    def write(*lines):
        if any(b"settled" in line for line in lines):
            raise OSError(28, "No space left on device")

    segment.write = write
    with pytest.raises(OSError, match="No space left"):
        answers("a", "b", "c", segment=segment)
    assert model.calls == len(list(cache.keys())) > 0


def test_what_another_process_asks_for_is_not_asked_again(answers, cache, model, monkeypatch):
    def answered_at_the_third_look(looks, keys):
        if looks == 3:
            cache.put_many({key: CachedAnswer("THEIRS", 1, 1, None, 2**40) for key in keys})
        return set()

    monkeypatch.setattr(cache, "claims", lambda: OtherProcess(answered_at_the_third_look))
    assert answers("a", "b") == ["THEIRS", "THEIRS"]
    assert model.calls == 0


def test_what_another_process_gave_up_is_asked_for_here(answers, cache, model, monkeypatch):
    other = OtherProcess(lambda looks, keys: keys if looks == 2 else set())
    monkeypatch.setattr(cache, "claims", lambda: other)
    assert answers("a") == ["WHICH TEAM? A"]
    assert (model.calls, other.looks) == (1, 2)
    assert len(other.released) == 1


def test_an_answer_that_came_between_look_and_claim_is_taken(answers, cache, model, monkeypatch):
    def just_answered(looks, keys):
        cache.put_many({key: CachedAnswer("THEIRS", 1, 1, None, 2**40) for key in keys})
        return keys

    monkeypatch.setattr(cache, "claims", lambda: OtherProcess(just_answered))
    assert answers("a") == ["THEIRS"]
    assert model.calls == 0


def test_claims_are_released_whatever_becomes_of_the_calls(answers, cache, model, monkeypatch):
    other = OtherProcess(lambda _, keys: keys)
    monkeypatch.setattr(cache, "claims", lambda: other)
    model.reply = lambda _: ModelAnswer("cut", 1, 8, finish_reason="length")
    answers("a", "b")
    assert len(other.released) == 2


class NothingBatched:
    def is_batched(self, question):
        return True

    def takes(self, question, key):
        return False

    def failure(self, question, key):
        return Failure(ModelError.because("XCS720", operation=question.name, model=question.model, reason="missing"))


def test_a_session_that_takes_in_batches_calls_nobody(answers, model):
    answers("a")
    known, unknown = answers("a", "b", batched=NothingBatched())
    assert known == "WHICH TEAM? A"
    assert isinstance(unknown, Failure)
    assert unknown.error.code == "XCS720"
    assert model.calls == 1


def uncached(name="ask", **fields):
    operation = asking(name, Ref(operation="load"), batch=BatchPolicy(group=name, in_flight=4), **fields)
    return operation.model_copy(update={"metadata": LLMMetadata(model="openai/gpt-4.1-mini", temperature=1)})


@pytest.fixture
def manifest(code):
    operations = [Operation(id="load", func="pipeline:load"), uncached()]
    return lower(Graph(operations, name="p", output=Ref(operation="ask")))


def test_a_task_that_starts_again_does_not_pay_twice_for_answers_no_other_run_may_take(manifest, settings, model):
    run_task(manifest, "load", run_id="run", settings=settings)
    model.reply = lambda request: ValueError("broken") if model.calls == 30 else "yes"
    with pytest.raises(ValueError, match="broken"):
        run_task(manifest, "ask", run_id="run", settings=settings)
    paid = model.calls - 1
    model.reply = lambda _: "yes"
    run_task(manifest, "ask", run_id="run", settings=settings)
    assert model.calls <= 60 + 4
    assert run_usage(settings, "p", "run").total.hits >= paid - 4


def test_another_run_asks_for_answers_of_its_own(manifest, settings, model):
    for run_id in ("one", "two"):
        for task in ("load", "ask"):
            run_task(manifest, task, run_id=run_id, settings=settings)
    assert model.calls == 120


def test_other_parameters_are_other_prompts(settings, code, model):
    code("def load(path):\n    return [path]\n")
    operations = [Operation(id="load", func="pipeline:load", inputs={"path": Parameter(parameter="path")}), uncached()]
    graph = Graph(operations, name="p", parameters=[ParameterSpec(name="path")], output=Ref(operation="ask"))
    manifest = lower(graph)
    for path in ("a", "b"):
        for task in ("load", "ask"):
            run_task(manifest, task, run_id="run", parameters={"path": path}, settings=settings)
    assert model.prompts == ["about a", "about b"]
