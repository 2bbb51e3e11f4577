"""Templates become prompts as data."""

from __future__ import annotations

import pytest

from xcs_airflow.authoring.template import read_prompt
from xcs_airflow.values import Hole, Message, Prompt


def test_a_name_in_braces_is_an_input():
    prompt = read_prompt("Which team?\n\n{ticket}!")

    assert Prompt(messages=(Message(parts=("Which team?\n\n", Hole(input="ticket"), "!")),)) == prompt


@pytest.mark.parametrize(
    "text",
    [
        '{"order": 1}',
        "{}",
        "{ ticket }",
        "{ticket.id}",
        "{0}",
        "{ticket",
        "ticket}",
        "{a-b}",
        "{if}",
        "{None}",
        "{x!r}",
        "{x:>3}",
        "%s ${x y}",
    ],
)
def test_every_other_brace_is_text(text):
    prompt = read_prompt(text)

    assert prompt.inputs == ()
    assert [{"role": "user", "content": text}] == prompt.render({})


def test_a_name_in_two_pairs_of_braces_is_an_input_between_braces():
    assert read_prompt("{{ticket}}").render({"ticket": 7})[0]["content"] == "{7}"


def test_an_input_may_be_used_twice_and_have_any_alphabet():
    prompt = read_prompt("{été} {x} {été}")

    assert prompt.inputs == ("été", "x")
    assert prompt.render({"été": 1, "x": 2})[0]["content"] == "1 2 1"


def test_what_an_input_holds_is_never_read_as_a_template():
    assert read_prompt("{a} {b}").render({"a": "{b}", "b": "{a}"})[0]["content"] == "{b} {a}"


def test_the_system_message_comes_first_and_is_a_template_too():
    prompt = read_prompt("{ticket}", "You speak {language}.")

    assert [message.role for message in prompt.messages] == ["system", "user"]
    assert prompt.inputs == ("language", "ticket")


def test_an_empty_template_is_an_empty_message():
    assert read_prompt("").render({}) == [{"role": "user", "content": ""}]
