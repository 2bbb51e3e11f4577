"""A server for packs, and sessions that ask it."""

import asyncio
import threading

import pytest

from xcs_airflow.manifest import CacheRule, ModelCall
from xcs_airflow.runtime.ledger import Ledger
from xcs_airflow.runtime.question import Question
from xcs_airflow.runtime.session import Session
from xcs_airflow.runtime.settings import ModelRoute, RuntimeSettings
from xcs_airflow.values import Hole, Message, Prompt

from .server import PackServer

RULES = "You know which team handles a ticket."
PROMPT = Prompt(
    messages=(Message(role="system", parts=(RULES,)), Message(parts=("Which team? Answer as always.\n\nTicket: ", Hole(input="ticket"))))
)


@pytest.fixture
def server():
    with PackServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def pack_settings(server, tmp_path):
    route = ModelRoute(endpoint=server.url)
    return RuntimeSettings(store=tmp_path / "store", code=tmp_path / "code", models={"openai": route})


@pytest.fixture
def ask(server, pack_settings):
    """Asks about tickets in a session of its own; gives the answers, in order."""

    def run(tickets, pack=5, *, settings=pack_settings, ledger=None, **fields):
        call = ModelCall(model="openai/gpt-4.1-mini", prompt=PROMPT, temperature=0, max_tokens=8, pack=pack, **fields)
        question = Question("classify", call, CacheRule(), settings)

        async def answers():
            async with Session(settings, 4, ledger or Ledger()) as session:
                return await session.answers(question, [question.messages({"ticket": ticket}) for ticket in tickets])

        return asyncio.run(answers())

    return run
