"""Whatever a server makes of packs, every item ends with its own answer or its own failure, within twice as many calls as items."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from xcs_airflow.manifest import CacheRule, ModelCall
from xcs_airflow.runtime.failures import Failure
from xcs_airflow.runtime.ledger import Ledger
from xcs_airflow.runtime.models import ModelAnswer, use_provider
from xcs_airflow.runtime.packs import shares
from xcs_airflow.runtime.question import Question
from xcs_airflow.runtime.session import Session
from xcs_airflow.runtime.settings import RuntimeSettings
from xcs_airflow.runtime.waiting import wait_for
from xcs_airflow.values import Hole, Message, Prompt

from .server import ITEMS, items_in

PROMPT = Prompt(messages=(Message(parts=("Double ", Hole(input="number"))),))
INTEGER = {"type": "integer"}

places = st.integers(0, 7)
edits = st.one_of(
    st.tuples(st.just("drop"), places),
    st.tuples(st.just("twice"), places),
    st.tuples(st.just("swap"), places),
    st.tuples(st.just("invent"), places),
    st.tuples(st.just("misfit"), places),
    st.tuples(st.sampled_from(["prose", "cut off", "reverse"]), st.just(0)),
)


class Whim:
    """A model that does to each pack what a list says, and to single items what another says."""

    def __init__(self, packs, singles):
        self.packs = packs
        self.singles = singles
        self.calls = 0

    def complete(self, request):
        self.calls += 1
        content = request.messages[-1]["content"]
        if ITEMS not in content:
            fits = self.singles.pop(0) if self.singles else True
            number = next(message["content"] for message in request.messages if message["content"].startswith("Double "))
            return ModelAnswer(str(2 * int(number.removeprefix("Double "))) if fits else "no number", 7, 3)
        items = items_in(content)
        entries = [{"id": item["id"], "answer": 2 * int(item["input"])} for item in items]
        reason = "stop"
        for kind, place in self.packs.pop(0) if self.packs else ():
            entries, reason = self.edited(entries, kind, place, reason)
        text = json.dumps({"answers": entries}) if isinstance(entries, list) else entries
        return ModelAnswer(text, 41, 13, finish_reason=reason)

    def edited(self, entries, kind, place, reason):
        if kind == "cut off":
            return entries, "length"
        if kind == "prose" or not isinstance(entries, list) or not entries:
            return "I am sorry.", reason
        at = place % len(entries)
        changes = {
            "drop": lambda: entries[:at] + entries[at + 1 :],
            "twice": lambda: [*entries, entries[at]],
            "swap": lambda: [entries[at], *entries[:at], *entries[at + 1 :]],
            "invent": lambda: [*entries, {"id": f"q{place + 100}", "answer": 1}],
            "misfit": lambda: [*entries[:at], {**entries[at], "answer": "x"}, *entries[at + 1 :]],
            "reverse": lambda: entries[::-1],
        }
        return changes[kind](), reason


@settings(max_examples=300, deadline=None)
@given(
    items=st.integers(1, 17),
    pack=st.integers(2, 8),
    packs=st.lists(st.lists(edits, max_size=4), max_size=30),
    singles=st.lists(st.booleans(), max_size=30),
)
def test_every_item_ends_with_its_own_answer_or_its_own_failure_within_two_calls_each(items, pack, packs, singles):
    call = ModelCall(model="openai/gpt-4.1-mini", prompt=PROMPT, output_schema=INTEGER, max_tokens=4, temperature=0, pack=pack)
    where = RuntimeSettings(cache="memory")
    ledger = Ledger()
    model = Whim(packs, singles)
    with use_provider(model):
        question = Question("double", call, CacheRule(epoch=str(id(model))), where)

        async def ask():
            async with Session(where, 3, ledger) as session:
                return await session.answers(question, [question.messages({"number": number}) for number in range(items)])

        answers = wait_for(ask)
    for number, answer in enumerate(answers):
        assert isinstance(answer, Failure) or answer == 2 * number
        if isinstance(answer, Failure):
            assert answer.error.code == "XCS704"
    assert model.calls <= 2 * items
    (usage,) = ledger.close(lambda *_, **__: None)
    assert (usage.calls + usage.discarded, usage.possibly_billed, usage.refused) == (model.calls, 0, 0)


@given(tokens=st.integers(0, 10**6), sizes=st.lists(st.integers(0, 10**4), min_size=1, max_size=20))
def test_shares_add_up_to_what_was_divided(tokens, sizes):
    parts = shares(tokens, sizes)
    assert sum(parts) == tokens
    assert all(part >= 0 for part in parts)
    assert shares(None, sizes) == [None] * len(sizes)
