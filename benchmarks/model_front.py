"""A thin front before two servers that nobody here wrote: live requests go to `xpyd-sim`, files and batches to `llmock`.

The simulator answers after a time that depends on the length of the answer, and counts tokens, but what it writes is noise; llmock
repeats what it was told. So the front writes the answers: it reads which items a request is about and how long answers should be, puts
an answer for every item into what came back, and lets the simulator take as long as so many tokens take. Tokens are counted by the
rule of the simulator, four characters each, in batches, too. Everything else passes through as it is.

It knows just enough of the workload to answer it; it does not know how calls are made. Started as a process of its own it prints its
port; it ends with its standard input.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import re
import sys
from typing import Any

import aiohttp
from aiohttp import web

CHARACTERS = 4
_LENGTH = re.compile(r"in about (\d+) tokens")
_ITEM = "\n### Item\n"
_WORDS = ("parcel", "carrier", "label", "refund", "today", "photo", "invoice", "seal", "machine", "part", "order", "stock", "shelf")
_MOST_BYTES = 1 << 28


def answer(item: str, tokens: int) -> str:
    """What is answered about an item: always the same words, and now more of them and now fewer.

    Args:
        item: What is asked about.
        tokens: About how long answers should be.
    """
    number = int.from_bytes(hashlib.sha256(item.encode()).digest()[:8])
    length = CHARACTERS * (tokens * 4 // 5 + number % (tokens * 2 // 5 + 1))
    words = [_WORDS[(number >> place) % len(_WORDS)] for place in range(0, 60, 3)]
    text = " ".join(words)
    return (f"{number:x} {text} " * (length // len(text) + 1))[:length].rstrip().ljust(length, ".")


def content(body: dict[str, Any]) -> str:
    """The content of the answer to a request about one item, or about many with ids."""
    said = "".join(message["content"] for message in body["messages"])
    found = _LENGTH.search(said)
    if found is None:
        raise web.HTTPBadRequest(text="this is not a request of the workload")
    tokens = int(found[1])
    schema = body.get("response_format", {}).get("json_schema", {}).get("schema", {})
    if "answers" not in schema.get("properties", {}):
        return answer(said.rpartition(_ITEM)[2], tokens)
    last = body["messages"][-1]["content"]
    items = json.loads(last[last.rindex("\n\n[") :])
    return json.dumps({"answers": [{"id": item["id"], "answer": answer(item["input"], tokens)} for item in items]})


def prompt_tokens(body: dict[str, Any]) -> int:
    """The tokens of a prompt, as the simulator counts them."""
    return sum(len(message["content"]) + len(message["role"]) for message in body["messages"]) // CHARACTERS


def filled(document: dict[str, Any], text: str, usage: dict[str, int] | None = None) -> dict[str, Any]:
    """A chat completion with another content.

    Args:
        document: As it came.
        text: The content.
        usage: The tokens; None leaves those that came.
    """
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return {**document, "choices": [choice], **({} if usage is None else {"usage": usage})}


class Front:
    """The front and what it remembers of batches.

    Args:
        simulator: The address of xpyd-sim.
        batches: The address of llmock.
    """

    def __init__(self, simulator: str, batches: str) -> None:
        self._simulator = simulator
        self._batches = batches
        self._requests = 0
        self._bodies: dict[str, dict[str, dict[str, Any]]] = {}
        self._inputs: dict[str, str] = {}

    async def run(self) -> None:
        """Serve on a free port of the loopback interface until standard input ends."""
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as self._session:
            app = web.Application(client_max_size=_MOST_BYTES)
            app.add_routes(
                [
                    web.get("/requests", self._counted),
                    web.post("/v1/chat/completions", self._chat),
                    web.post("/v1/files", self._upload),
                    web.get("/v1/files/{name}/content", self._results),
                    web.route("*", "/v1/{rest:.*}", self._pass_on),
                ]
            )
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0, backlog=512)
            await site.start()
            sys.stdout.write(f"{runner.addresses[0][1]}\n")
            sys.stdout.flush()
            await asyncio.to_thread(sys.stdin.read)
            await runner.cleanup()

    async def _counted(self, _: web.Request) -> web.Response:
        """How many requests came since this was last asked, those inside batches included."""
        counted, self._requests = self._requests, 0
        return web.json_response({"requests": counted})

    async def _chat(self, request: web.Request) -> web.Response:
        self._requests += 1
        body = await request.json()
        text = content(body)
        length = -(-len(text) // CHARACTERS)
        asked = {"model": body["model"], "messages": body["messages"], "max_completion_tokens": length}
        async with self._session.post(f"{self._simulator}/v1/chat/completions", json=asked) as response:
            response.raise_for_status()
            document = await response.json()
        return web.json_response(filled(document, text))

    async def _upload(self, request: web.Request) -> web.Response:
        """Pass a file on, and remember what its lines ask."""
        raw = await request.read()
        lines = [json.loads(line) for line in raw.splitlines() if line.startswith(b'{"custom_id"')]
        self._requests += len(lines)
        headers = {"Content-Type": request.headers["Content-Type"]}
        async with self._session.post(f"{self._batches}/v1/files", data=raw, headers=headers) as response:
            document = await response.json()
        self._bodies[document["id"]] = {line["custom_id"]: line["body"] for line in lines}
        return web.json_response(document)

    async def _results(self, request: web.Request) -> web.Response:
        """The results of a batch, with answers in them."""
        name = request.match_info["name"]
        bodies = self._bodies[self._inputs[name]]
        async with self._session.get(f"{self._batches}/v1/files/{name}/content") as response:
            lines = [json.loads(line) for line in (await response.text()).splitlines()]
        for line in lines:
            body = bodies[line["custom_id"]]
            text = content(body)
            given, made = prompt_tokens(body), -(-len(text) // CHARACTERS)
            usage = {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}
            line["response"]["body"] = filled(line["response"]["body"], text, usage)
        return web.Response(text="".join(f"{json.dumps(line)}\n" for line in lines), content_type="application/jsonl")

    async def _pass_on(self, request: web.Request) -> web.Response:
        headers = {"Content-Type": request.headers.get("Content-Type", "application/json")}
        body = await request.read()
        async with self._session.request(request.method, self._batches + request.path_qs, data=body or None, headers=headers) as response:
            document = await response.json()
        if document.get("object") == "batch" and document.get("output_file_id"):
            self._inputs[document["output_file_id"]] = document["input_file_id"]
        return web.json_response(document, status=response.status)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("simulator")
    parser.add_argument("batches")
    given = parser.parse_args()
    asyncio.run(Front(given.simulator, given.batches).run())
