"""The runtime with a real language model inside this process."""

import pytest

from xcs_airflow.errors import ModelError
from xcs_airflow.manifest import CacheRule, ModelCall
from xcs_airflow.runtime import RuntimeSettings
from xcs_airflow.runtime.calls import answer_many
from xcs_airflow.values import Hole, Message, Prompt

pytestmark = pytest.mark.real

MODEL = "local/smollm2-135m-instruct"
TEAM = {"enum": ["billing", "bug", "other"], "type": "string"}


@pytest.fixture
def ask(tmp_path):
    settings = RuntimeSettings(store=tmp_path / "store")

    def ask(text, rows, **changes):
        prompt = Prompt(messages=(Message(parts=(text, Hole(input="text"))),))
        call = ModelCall(**{"model": MODEL, "prompt": prompt, "temperature": 0, "max_tokens": 12, "seed": 1, **changes})
        return answer_many(call, [{"text": row} for row in rows], cache=CacheRule(), in_flight=4, settings=settings)

    return ask


def test_it_answers_without_a_network_or_a_key_and_the_cache_knows_it_afterwards(ask, monkeypatch):
    said = ask("Summarise in one line: ", ["The app crashes when I open settings.", "I was charged twice."])
    assert all(len(answer.split()) > 1 for answer in said)
    assert said[0] != said[1]
    first = ask("Which team handles this ticket? ", ["The app crashes.", "I was charged twice."], output_schema=TEAM)

    def fails(*_):
        raise AssertionError("the model was asked again")

    monkeypatch.setattr("xcs_airflow.runtime.models.local.LocalModel.complete", fails)
    assert ask("Which team handles this ticket? ", ["The app crashes.", "I was charged twice."], output_schema=TEAM) == first


def test_its_answers_fit_the_output_type(ask):
    answers = ask("Which team handles this ticket?\n\n", ["I was charged twice.", "The app crashes."], output_schema=TEAM, max_tokens=4)
    assert set(answers) <= {"billing", "bug", "other"}
    record = {
        "type": "object",
        "properties": {"area": {"type": "string", "maxLength": 20}, "urgency": {"enum": ["low", "high"], "type": "string"}},
        "required": ["area", "urgency"],
        "additionalProperties": False,
    }
    (answer,) = ask("Extract area and urgency.\n\n", ["The app crashes when I open settings."], output_schema=record, max_tokens=60)
    assert answer.keys() == {"area", "urgency"}
    assert answer["urgency"] in ("low", "high")


def test_a_prompt_that_is_too_long_fails_its_row_alone(ask):
    with pytest.raises(ModelError, match="XCS702"):
        ask("", ["word " * 9000])
    assert ask("Say hello. ", ["now"])
