import hashlib
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xcs_airflow.canonical import canonical_json
from xcs_airflow.manifest import CacheRule, ModelCall, PrefixRule
from xcs_airflow.runtime.keys import KEY_SCHEMA, KeyMaker, asked_by, halves, row_key
from xcs_airflow.runtime.models.routes import Target
from xcs_airflow.runtime.settings import ModelRoute
from xcs_airflow.values import Message, Prompt

MESSAGES = [{"role": "user", "content": "Which team?"}]
CALL = {"model": "openai/gpt-4.1-mini", "prompt": Prompt(messages=(Message(parts=("x",)),)), "temperature": 0}
TARGET = {
    "model": "openai/gpt-4.1-mini",
    "answered_by": "openai/gpt-4.1-mini",
    "provider": "openai",
    "served_model": "gpt-4.1-mini",
    "address": "https://api.openai.com/v1",
    "route": ModelRoute(),
}


def key(messages=MESSAGES, *, tenant="", rule=None, target=(), **call):
    maker = KeyMaker("step", ModelCall(**{**CALL, **call}), Target(**{**TARGET, **dict(target)}), rule or CacheRule(), tenant)
    return maker.key(messages)


@pytest.mark.parametrize(
    "changes",
    [
        {"messages": [{"role": "user", "content": "which team?"}]},
        {"messages": [{"role": "system", "content": "Which team?"}]},
        {"messages": MESSAGES * 2},
        {"temperature": 0.1},
        {"temperature": None},
        {"max_tokens": 4},
        {"seed": 1},
        {"output_schema": {"type": "string"}},
        {"tenant": "acme"},
        {"rule": CacheRule(epoch="2")},
        {"target": {"provider": "azure"}},
        {"target": {"address": "http://127.0.0.1/v1"}},
        {"target": {"served_model": "gpt-4.1"}},
    ],
)
def test_everything_that_can_change_an_answer_changes_the_key(changes):
    assert key(**changes) != key()


def test_what_cannot_change_an_answer_does_not_change_the_key():
    assert key(rule=CacheRule(ttl_s=60)) == key()
    assert key(prompt=None, prompt_func="m:f") == key()
    assert key(target={"route": ModelRoute(timeout_s=3, key_env="OTHER_KEY", requests_per_minute=3)}) == key()
    assert key(output_schema={"a": 1, "b": 2}) == key(output_schema={"b": 2, "a": 1})
    assert key(prefix=PrefixRule(ttl_s=3600)) == key(pack=5) == key()


def test_a_redirected_model_shares_the_answers_of_the_one_that_answers():
    assert key(model="anthropic/claude", target={"model": "anthropic/claude"}) == key()


def test_a_field_that_requests_gain_later_enters_the_key():
    class LaterCall(ModelCall):
        top_p: float = 1.0

    one, other = (KeyMaker("step", LaterCall(**CALL, top_p=top_p), Target(**TARGET), CacheRule(), "") for top_p in (0.5, 0.9))
    assert one.key(MESSAGES) != other.key(MESSAGES)


@given(st.text(), st.text())
def test_different_texts_have_different_keys(one, other):
    keys = [key([{"role": "user", "content": text}]) for text in (one, other)]
    assert (keys[0] == keys[1]) == (one == other)


def test_keys_are_the_same_in_every_process():
    script = "import sys; sys.path.insert(0, sys.argv[1]); import test_keys; print(test_keys.key())"
    folder = __file__.rpartition("/")[0]
    found = {
        subprocess.run(
            [sys.executable, "-c", script, folder], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert found == {key()}


@given(st.lists(st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant"]), "content": st.text()}), min_size=1))
def test_prompts_enter_keys_in_their_canonical_form(messages):
    salt = hashlib.sha256(canonical_json([KEY_SCHEMA, ""]).encode())
    salt.update(canonical_json(messages).encode())
    assert halves(key(messages))[0] == salt.hexdigest()[:40]


def test_the_halves_of_a_key_tell_which_half_of_a_request_changed():
    prompt, recipe = halves(key())
    assert halves(key([{"role": "user", "content": "Which other team?"}]))[1] == recipe
    assert halves(key(temperature=1))[0] == prompt


def of_row(row="3", messages=MESSAGES, step="step", **call):
    return row_key(asked_by(step, ModelCall(**{**CALL, **call})), row, messages)


@pytest.mark.parametrize(
    "changes",
    [
        {"row": "4"},
        {"messages": MESSAGES * 2},
        {"step": "other"},
        {"model": "openai/gpt-4.1"},
        {"temperature": 0.1},
        {"max_tokens": 4},
        {"seed": 1},
        {"output_schema": {"type": "string"}},
    ],
)
def test_the_key_of_a_row_tells_step_item_and_request(changes):
    assert of_row(**changes) != of_row()


def test_the_key_of_a_row_does_not_depend_on_who_wrote_the_prompt():
    assert of_row(prompt=None, prompt_func="m:f") == of_row(prompt=None, prompt_func="m:g") == of_row()
