"""`@jit`: the same results as the function, with fewer and wider calls."""

from __future__ import annotations

import asyncio
import warnings
from collections import Counter
from decimal import Decimal

import pytest
from pydantic import BaseModel

from xcs_airflow import jit, llm, op
from xcs_airflow.jit import NotCompiledWarning
from xcs_airflow.jit.strategies import AdaptiveLLMStrategy, DirectStrategy, LLMAwareStrategy
from xcs_airflow.runtime.models import ModelAnswer, use_provider
from xcs_airflow.testing import fake_models

MODEL = "openai/gpt-4.1-mini"


class Details(BaseModel):
    order: str
    urgent: bool = False


llm_model = llm(MODEL, "{text}", temperature=0)
extract = llm(MODEL, "Extract {text}", output=Details, temperature=0)


@op
def join(parts: list[str], details: Details | None = None) -> str:
    return "+".join(parts) + (details.order if details else "")


@op
def pair(text: str) -> tuple[str, list[Details]]:
    return text, [Details(order=text)]


@jit
def process_with_llm(text):
    return llm_model(text)


@jit
def process_many(texts: list[str]):
    return join(llm_model.map(text=texts))


def echo(prompt: str) -> str:
    return prompt.upper()


class Widest:
    """A model that answers when nobody else comes, and knows how many were waiting."""

    def __init__(self) -> None:
        self.waiting = self.widest = 0

    async def complete(self, request):
        self.waiting += 1
        self.widest = max(self.widest, self.waiting)
        for _ in range(50):
            await asyncio.sleep(0)
        self.waiting -= 1
        return ModelAnswer("ok", 1, 1, "stop")


def test_a_jitted_function_returns_what_the_function_returns():
    with fake_models(echo) as calls:
        assert process_with_llm("hello") == "HELLO"
    assert calls.prompts == ["hello"]


def test_many_calls_are_made_once_per_distinct_prompt():
    with fake_models(echo) as calls:
        assert process_many(["a", "b", "a", "a"]) == "A+B+A+A"
    assert Counter(calls.prompts) == {"a": 1, "b": 1}


@pytest.mark.parametrize("strategy", [DirectStrategy(), LLMAwareStrategy(), AdaptiveLLMStrategy()])
def test_every_strategy_gives_the_same_result_in_the_same_types(strategy):
    @jit(strategy=strategy)
    def work(texts: list[str], flag: bool = True, note: str | None = None):
        details = extract(texts[0] if isinstance(texts, tuple) else "first")
        name, more = pair("p")
        if flag and note is None:
            return {"joined": join(llm_model.map(text=texts), details=details), "details": (details, [name, more]), "known": Decimal(1)}
        return note

    with fake_models({"Extract": Details(order="A1", urgent=True), "": "x"}):
        result = work(["a", "b"])

    details = Details(order="A1", urgent=True)
    assert {"joined": "x+xA1", "details": (details, ["p", [Details(order="p")]]), "known": Decimal(1)} == result


def test_independent_calls_wait_side_by_side(monkeypatch):
    monkeypatch.setenv("XCS_CACHE", "off")
    model = Widest()
    with use_provider(model):
        process_many([str(number) for number in range(100)])
    assert model.widest == 64


def test_one_call_runs_as_it_is_written():
    traces = []

    @jit
    def work(text):
        traces.append(text)
        return llm_model(text)

    with fake_models(echo):
        assert [work("a"), work("b")] == ["A", "B"]
    assert traces[1:] == ["a", "b"]


def test_a_compiled_form_is_kept_per_structure_of_arguments():
    traces = []

    @jit(strategy=LLMAwareStrategy())
    def work(texts, loud=False):
        traces.append(loud)
        answers = llm_model.map(text=texts)
        return join(answers) if loud else answers

    with fake_models(echo):
        assert (work(["a"]), work(["b", "c"]), work(["d"], loud=True)) == (["A"], ["B", "C"], "D")
    assert traces == [False, True]


def test_answers_are_remembered_between_calls_when_there_is_a_cache():
    with fake_models(echo, cache=True) as calls:
        process_many(["a", "b"])
        process_many(["a", "b", "c"])
    assert sorted(calls.prompts) == ["a", "b", "c"]


def test_a_function_that_cannot_be_traced_runs_directly_with_one_warning():
    @jit
    def work(texts: list[str]):
        answers = llm_model.map(text=texts)
        return len([answer for answer in answers if answer])

    with fake_models(echo):
        with pytest.warns(NotCompiledWarning, match=r"(?s)work runs as it is written.*XCS101.*for item in %llm_model") as warned:
            assert work(["a", "b"]) == 2
        assert [__file__] == [warning.filename for warning in warned]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert work(["a"]) == 1


@pytest.mark.parametrize("argument", [object(), len, {1: object()}])
def test_arguments_that_are_not_json_run_directly(argument):
    @jit
    def work(thing, text):
        return llm_model(text)

    with fake_models(echo), pytest.warns(NotCompiledWarning, match="XCS104"):
        assert work(argument, "a") == "A"


@pytest.mark.parametrize("strategy", [LLMAwareStrategy(), AdaptiveLLMStrategy()])
def test_a_function_without_a_model_runs_as_it_is_written(strategy):
    @jit(strategy=strategy)
    def work(parts):
        return join(parts)

    assert work(["a", "b"]) == "a+b"


def test_an_error_in_the_function_is_the_functions_own():
    @jit
    def work(x):
        raise KeyError(x)

    with pytest.warns(NotCompiledWarning, match="KeyError"), pytest.raises(KeyError, match="'a'"):
        work("a")


def test_wrong_arguments_are_refused_as_by_the_function():
    with pytest.raises(TypeError, match="argument"):
        process_with_llm(txt="a")


def test_inside_a_pipeline_it_gives_its_steps():
    from xcs_airflow import pipeline  # noqa: PLC0415

    @pipeline
    def flow(text: str):
        return process_with_llm(text)

    assert [operation.id for operation in flow.graph()] == ["llm_model"]


def test_it_keeps_the_face_of_the_function():
    assert ("process_many", __name__) == (process_many.__name__, process_many.__module__)
    assert repr(process_many) == "<jit process_many>"


def test_a_method_runs_as_it_is_written():
    class Asker:
        @jit
        def ask(self, text):
            return llm_model(text)

    with fake_models(echo), pytest.warns(NotCompiledWarning, match="XCS104"):
        assert Asker().ask("a") == "A"


def test_it_can_wrap_a_pipeline_and_be_wrapped_by_one():
    from xcs_airflow import pipeline  # noqa: PLC0415

    @jit
    @pipeline
    def outer(texts: list[str]):
        return llm_model.map(text=texts)

    @pipeline
    @jit
    def inner(texts: list[str]):
        return llm_model.map(text=texts)

    with fake_models(echo):
        assert outer(["a", "b"]) == inner(["a", "b"]) == ["A", "B"]
    assert len(inner.graph()) == 1


def test_what_is_not_written_in_python_runs_as_it_is():
    with pytest.warns(NotCompiledWarning):
        assert jit(len)([1, 2]) == 2
