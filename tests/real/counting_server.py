"""A model on loopback in a process of its own, which counts what it is asked and, when told so, kills whoever asks.

It knows requests of OpenAI's protocol; it does not know who makes them. No two prompts have the same number of prompt tokens, so that a
settlement in a ledger says which prompt it is for. Run as a program it prints its port.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.request
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from aiohttp import web

FIRST_TOKENS = 1000


class Model:
    """Answers after a pause, and counts."""

    def __init__(self) -> None:
        self.received: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.tokens: dict[str, int] = {}
        self.pause_s = 0.0
        self.victim = 0
        self.spared = 0

    def application(self) -> web.Application:
        application = web.Application()
        application.router.add_post("/v1/chat/completions", self._complete)
        application.router.add_post("/reset", self._reset)
        application.router.add_post("/kill", self._kill)
        application.router.add_get("/counts", self._counts)
        return application

    async def _complete(self, request: web.Request) -> web.Response:
        asked = await request.json()
        prompt = asked["messages"][-1]["content"]
        tokens = self.tokens.setdefault(prompt, FIRST_TOKENS + len(self.tokens))
        self.received[prompt] += 1
        if self.victim:
            self.spared -= 1
            if self.spared <= 0:
                os.kill(self.victim, signal.SIGKILL)
                self.victim = 0
        if self.pause_s:
            await asyncio.sleep(self.pause_s)
        self.answered[prompt] += 1
        message = {"role": "assistant", "content": _answer(prompt, asked.get("response_format"))}
        usage = {"prompt_tokens": tokens, "completion_tokens": 2}
        return web.json_response({"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage})

    async def _reset(self, request: web.Request) -> web.Response:
        self.received.clear()
        self.answered.clear()
        self.tokens.clear()
        self.victim = 0
        self.pause_s = (await request.json())["pause_s"]
        return web.json_response({})

    async def _kill(self, request: web.Request) -> web.Response:
        told = await request.json()
        self.victim, self.spared = told["pid"], told["nth"]
        return web.json_response({})

    async def _counts(self, _: web.Request) -> web.Response:
        return web.json_response({"received": self.received, "answered": self.answered, "tokens": self.tokens})


class Counts(NamedTuple):
    """What the server has seen since the last reset.

    Attributes:
        received: How often each prompt was asked.
        answered: How often it was answered, whether or not anybody was left to read the answer.
        tokens: The prompt tokens that are its alone.
    """

    received: Counter[str]
    answered: Counter[str]
    tokens: Counter[str]


class CountingServer:
    """A running server.

    Attributes:
        url: Where it listens.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def counts(self) -> Counts:
        """What it has seen."""
        return Counts(**{name: Counter(counts) for name, counts in self._ask("counts").items()})

    def reset(self, pause_s: float = 0.0) -> None:
        """Count from zero, and pause before each answer."""
        self._ask("reset", {"pause_s": pause_s})

    def _ask(self, path: str, document: object = None) -> dict:
        data = None if document is None else json.dumps(document).encode()
        with urllib.request.urlopen(urllib.request.Request(f"{self.url}/{path}", data=data), timeout=30) as answer:
            return json.load(answer)


@contextmanager
def counting_server() -> Iterator[CountingServer]:
    """The server in a process of its own, while the block runs."""
    process = subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, text=True)
    try:
        yield CountingServer(f"http://127.0.0.1:{int(process.stdout.readline())}")
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()


def _answer(prompt: str, response_format: dict | None) -> str:
    """The same to the same prompt: the prompt itself, or something that fits the asked schema."""
    if response_format is None:
        return f"Re: {prompt}"
    schema = response_format["json_schema"]["schema"]
    return json.dumps(_sample(schema, schema, zlib.crc32(prompt.encode())))


def _sample(schema: dict, root: dict, number: int) -> object:
    """A value that fits a schema; which one depends on the number."""
    if "$ref" in schema:
        return _sample(root["$defs"][schema["$ref"].rpartition("/")[2]], root, number)
    if "anyOf" in schema:
        return _sample(schema["anyOf"][number % len(schema["anyOf"])], root, number // 7)
    if "enum" in schema:
        return schema["enum"][number % len(schema["enum"])]
    samples = {
        "object": lambda: {name: _sample(part, root, number // 3) for name, part in schema["properties"].items()},
        "string": lambda: f"no. {number % 1000}",
        "boolean": lambda: bool(number % 2),
        "null": lambda: None,
    }
    return samples[schema["type"]]()


async def _serve() -> None:
    runner = web.AppRunner(Model().application(), access_log=None, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    asyncio.run(_serve())
