import asyncio
import threading

import pytest

from xcs_airflow.errors import ModelError, ModelUnavailableError, RuntimeTaskError
from xcs_airflow.manifest import CacheRule
from xcs_airflow.runtime.calls import answer_many
from xcs_airflow.runtime.functions import code_on_path
from xcs_airflow.runtime.models import AttemptError, ModelAnswer
from xcs_airflow.runtime.models.routes import target_of

WORD = {"enum": ["billing", "bug"], "type": "string"}


@pytest.fixture
def ask(settings, call, rule):
    """Asks about texts."""

    def ask(texts, *, cache=rule, in_flight=4, settings=settings, **changes):
        return answer_many(call(**changes), [{"ticket": text} for text in texts], cache=cache, in_flight=in_flight, settings=settings)

    return ask


def test_answers_come_in_the_order_of_the_rows(ask, model):
    assert ask(["a", "b", "c"], in_flight=2) == ["WHICH TEAM? A", "WHICH TEAM? B", "WHICH TEAM? C"]
    assert [request.model for request in model.requests] == ["openai/gpt-4.1-mini"] * 3
    assert (model.requests[0].temperature, model.requests[0].max_tokens, model.requests[0].seed) == (0, 8, None)
    assert ask([]) == []


def test_equal_requests_are_asked_once_and_a_second_time_not_at_all(ask, model):
    texts = [f"ticket {index % 30}" for index in range(100)]
    first = ask(texts)
    assert model.calls == 30
    assert ask(texts) == first
    assert model.calls == 30
    assert len(first) == 100


def test_without_a_rule_every_row_is_asked(ask, model):
    ask(["a", "a"], cache=None)
    ask(["a"], cache=None)
    assert model.calls == 3


def test_tenants_epochs_and_lifetimes_keep_answers_apart(ask, model, settings):
    ask(["a"])
    ask(["a"], settings=settings.model_copy(update={"tenant": "other"}))
    ask(["a"], cache=CacheRule(epoch="2"))
    assert model.calls == 3
    ask(["a"], cache=CacheRule(ttl_s=3600))
    assert model.calls == 3
    ask(["a"], cache=CacheRule(ttl_s=0))
    assert model.calls == 4


def test_no_more_calls_are_in_flight_than_allowed(ask, model):
    now = most = 0

    async def complete(request):
        nonlocal now, most
        now, most = now + 1, max(most, now + 1)
        await asyncio.sleep(0.001)
        now -= 1
        return ModelAnswer("x")

    model.complete = complete
    ask([str(index) for index in range(40)], in_flight=7)
    assert most == 7


def test_it_can_be_called_where_an_event_loop_runs(ask, model):
    async def inside():
        return ask(["a"])

    assert asyncio.run(inside()) == ["WHICH TEAM? A"]


def test_threads_that_ask_the_same_at_the_same_time_share_one_call(ask, model):
    everybody_asks = threading.Barrier(4)

    async def complete(request):
        model.requests.append(request)
        await asyncio.sleep(0.2)
        return ModelAnswer("shared")

    model.complete = complete
    answers = []

    def run():
        everybody_asks.wait()
        answers.extend(ask(["a"]))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["shared"] * 4
    assert model.calls == 1


def test_typed_answers_are_values_and_belong_to_one_row_each(ask, model):
    schema = {"type": "array", "items": {"type": "string"}}
    model.reply = lambda request: '["x"]'
    first, second = ask(["a", "a"], output_schema=schema)
    first.append("changed")
    assert second == ["x"]
    assert ask(["a"], output_schema=schema) == [["x"]]
    assert model.calls == 1
    model.reply = lambda request: " Billing "
    assert ask(["b"], output_schema=WORD) == ["billing"]


def test_an_answer_that_does_not_fit_is_asked_for_once_more_with_the_reason(ask, model):
    replies = iter(["shipping", "bug"])
    model.reply = lambda request: next(replies)
    assert ask(["a"], output_schema=WORD) == ["bug"]
    said, complaint = model.requests[1].messages[-2:]
    assert said == {"role": "assistant", "content": "shipping"}
    assert "Answer again" in complaint["content"]
    assert ask(["a"], output_schema=WORD) == ["bug"]
    assert model.calls == 2


def test_an_answer_that_never_fits_is_an_error_with_its_beginning(ask, model):
    model.reply = lambda request: "shipping"
    with pytest.raises(ModelError, match="XCS704") as caught:
        ask(["a"], output_schema=WORD)
    assert "'shipping'" in str(caught.value)
    assert model.calls == 2


def test_a_typed_answer_that_was_cut_off_is_an_error(ask, model):
    model.reply = lambda request: ModelAnswer('{"value": "bil', finish_reason="length")
    with pytest.raises(ModelError, match="cut off at 8 tokens"):
        ask(["a"], output_schema=WORD)
    assert model.calls == 1


def test_text_that_was_cut_off_is_an_answer_but_not_remembered(ask, model):
    model.reply = lambda request: ModelAnswer("half a sen", finish_reason="length")
    assert ask(["a"]) == ["half a sen"]
    assert ask(["a"]) == ["half a sen"]
    assert model.calls == 2


def test_a_failed_row_does_not_cost_the_others_their_answers(ask, model):
    def reply(request):
        return AttemptError("HTTP 400: bad words", blame="row") if "bad" in request.messages[-1]["content"] else "fine"

    model.reply = reply
    texts = [f"good {index}" for index in range(20)] + ["bad 1", "bad 2"]
    with pytest.raises(ModelError) as caught:
        ask(texts)
    assert [finding.code for finding in caught.value.findings] == ["XCS708", "XCS702"]
    assert "2 of 22 calls failed" in str(caught.value)
    assert "HTTP 400: bad words" in str(caught.value)
    assert not caught.value.retryable
    assert model.calls == 22
    model.reply = lambda request: "fine now"
    assert ask(texts) == ["fine"] * 20 + ["fine now"] * 2
    assert model.calls == 24


def test_a_busy_model_is_tried_again_and_then_reported_as_worth_another_try(ask, model):
    replies = iter([AttemptError("HTTP 500", blame="busy")] * 4 + ["at last"])
    model.reply = lambda request: next(replies)
    assert ask(["a"]) == ["at last"]
    model.reply = lambda request: AttemptError("HTTP 503", blame="busy")
    with pytest.raises(ModelUnavailableError, match="did not answer after 5 attempts: HTTP 503"):
        ask(["b"])


def test_a_wrong_key_stops_everything_at_once(ask, model):
    model.reply = lambda request: AttemptError("HTTP 401", blame="route")
    with pytest.raises(ModelError, match="XCS702") as caught:
        ask([str(index) for index in range(1000)])
    assert "1000 of 1000 calls failed" in str(caught.value)
    assert model.calls <= 4


def test_a_model_that_is_down_is_not_asked_a_thousand_times(ask, model):
    model.reply = lambda request: AttemptError("HTTP 503", blame="busy")
    with pytest.raises(ModelUnavailableError):
        ask([str(index) for index in range(1000)])
    assert model.calls <= 5 * 7


def test_requests_that_are_all_refused_stop_after_a_while(ask, model):
    model.reply = lambda request: AttemptError("HTTP 400", blame="row")
    with pytest.raises(ModelError):
        ask([str(index) for index in range(1000)])
    assert model.calls < 60


def test_a_mistake_in_a_stand_in_is_raised_as_it_is(ask, model):
    model.reply = lambda request: ZeroDivisionError("in the test")
    with pytest.raises(ZeroDivisionError, match="in the test"):
        ask(["a", "b"])
    model.reply = lambda request: "fine"
    assert ask(["a", "b"]) == ["fine", "fine"]


def test_answers_of_a_stand_in_are_never_those_of_a_real_model(model, settings):
    assert target_of("openai/gpt-4.1-mini", settings).address.startswith("use_provider:")


def test_prompts_may_be_written_by_functions(ask, model, code):
    code(
        """
from pydantic import BaseModel
class Ticket(BaseModel):
    text: str
def text(ticket: Ticket):
    return "About " + ticket.text
def messages(ticket):
    return [{"role": "system", "content": "Be short."}, {"role": "user", "content": ticket["text"]}]
def number(ticket):
    return 5
"""
    )
    assert ask([{"text": "a"}], prompt=None, prompt_func="pipeline:text") == ["ABOUT A"]
    assert ask([{"text": "a"}], prompt=None, prompt_func="pipeline:messages") == ["A"]
    assert model.requests[-1].messages[0] == {"role": "system", "content": "Be short."}
    with pytest.raises(RuntimeTaskError, match="XCS709"):
        ask([{"text": "a"}], prompt=None, prompt_func="pipeline:number")


def test_code_that_asks_while_its_prompt_is_written_does_not_wait_for_itself(ask, model, code, settings):
    folder = code(
        """
from xcs_airflow.manifest import CacheRule, ModelCall
from xcs_airflow.runtime.calls import answer_many
from xcs_airflow.values import Message, Prompt
def prompt(ticket):
    call = ModelCall(model="openai/gpt-4.1-mini", prompt=Prompt(messages=(Message(parts=("same",)),)), temperature=0, max_tokens=8)
    return answer_many(call, [{}], cache=CacheRule())[0].lower()
"""
    )
    with code_on_path(folder):
        assert ask(["a", "b"], prompt=None, prompt_func="pipeline:prompt") == ["SAME", "SAME"]


def test_nobody_is_configured_for_an_unknown_provider(settings, call, rule):
    with pytest.raises(ModelError, match=r"XCS701.*no endpoint is configured for nobody/model"):
        answer_many(call(model="nobody/model"), [{"ticket": "a"}], cache=rule, settings=settings)


def test_a_key_that_is_not_set_is_named(settings, call, rule, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ModelError, match=r"the variable OPENAI_API_KEY with the key for openai/gpt-4.1-mini is not set"):
        answer_many(call(), [{"ticket": "a"}], cache=rule, settings=settings)
