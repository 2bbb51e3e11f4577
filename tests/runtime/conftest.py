"""A model that answers in this process, settings that touch nothing outside a test, and pipelines to run."""

from __future__ import annotations

import os
import threading

import pytest

from xcs_airflow.manifest import CacheRule, ModelCall
from xcs_airflow.runtime.models import ModelAnswer, use_provider
from xcs_airflow.runtime.settings import RuntimeSettings
from xcs_airflow.values import Hole, Message, Prompt

PIPELINE = """
def load(path="", **others):
    for index in range(60):
        yield f"ticket {index % 40}"


def report(**inputs):
    return inputs


def work(x):
    return x


def join(**inputs):
    return sorted(inputs)
"""


class EchoModel:
    """Answers with the prompt in capitals, or as it is told, and keeps what it was asked."""

    def __init__(self):
        self.requests = []
        self.reply = lambda request: request.messages[-1]["content"].upper()
        self._lock = threading.Lock()

    async def complete(self, request):
        with self._lock:
            self.requests.append(request)
        reply = self.reply(request)
        if isinstance(reply, Exception):
            raise reply
        return reply if isinstance(reply, ModelAnswer) else ModelAnswer(reply, input_tokens=10, output_tokens=2)

    @property
    def calls(self):
        return len(self.requests)

    @property
    def prompts(self):
        return [request.messages[-1]["content"] for request in self.requests]


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("XCS_", "AWS_BATCH_", "CLOUD_RUN_")):
            monkeypatch.delenv(name)


@pytest.fixture
def model():
    """Answers every call of the test."""
    with use_provider(EchoModel()) as model:
        yield model


@pytest.fixture
def code(tmp_path):
    """A bundle's code folder; gives a function that writes `pipeline.py`."""
    folder = tmp_path / "code"
    folder.mkdir()

    def write(text=PIPELINE, name="pipeline.py"):
        (folder / name).write_text(text)
        return folder

    write()
    return write


@pytest.fixture
def settings(tmp_path):
    """A store, a cache and a code folder of the test's own."""
    return RuntimeSettings(store=tmp_path / "store", code=tmp_path / "code")


@pytest.fixture
def call():
    """Gives model calls with one input, `ticket`."""

    def make(**changes):
        prompt = Prompt(messages=(Message(parts=("Which team? ", Hole(input="ticket"))),))
        return ModelCall(**{"model": "openai/gpt-4.1-mini", "prompt": prompt, "temperature": 0, "max_tokens": 8, **changes})

    return make


@pytest.fixture
def rule():
    """Remember answers for ever."""
    return CacheRule()
