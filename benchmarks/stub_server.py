"""A model server that does as little as possible: it answers every chat completion with the same words after a set time.

It knows just enough of HTTP/1.1 to serve keep-alive clients on loopback, and counts what it was asked. Started as a process of its own
it prints its port; it ends with its standard input.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import sys
from functools import partial

_ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "stub",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "A short answer of ten words, as models give them."},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 40, "completion_tokens": 11, "total_tokens": 51},
}
_END_OF_HEAD = b"\r\n\r\n"


class Counts:
    """What the server was asked since it was last reset."""

    def __init__(self) -> None:
        self.requests = 0
        self.prompts: set[bytes] = set()

    def take(self, body: bytes) -> None:
        """Count a request."""
        self.requests += 1
        self.prompts.add(hashlib.md5(body[body.index(b'"messages"') :], usedforsecurity=False).digest())

    def reset(self) -> bytes:
        """What was counted, as JSON; counting starts again."""
        told = json.dumps({"requests": self.requests, "distinct": len(self.prompts)}).encode()
        self.requests, self.prompts = 0, set()
        return told


class Connection(asyncio.Protocol):
    """One connection: requests in, answers out, each after the latency.

    Args:
        counts: Where requests are counted.
        latency_s: How long an answer takes.
    """

    def __init__(self, counts: Counts, latency_s: float) -> None:
        self._counts = counts
        self._latency_s = latency_s
        self._received = b""
        self._answer = _response(json.dumps(_ANSWER).encode())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where answers go."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self._received += data
        while (end := self._received.find(_END_OF_HEAD)) >= 0:
            head = self._received[:end]
            start = end + len(_END_OF_HEAD)
            length = _content_length(head)
            if len(self._received) < start + length:
                return
            body, self._received = self._received[start : start + length], self._received[start + length :]
            if head.startswith(b"POST"):
                self._counts.take(body)
                self._after(self._latency_s, self._answer)
            else:
                self._after(0, _response(self._counts.reset()))

    def _after(self, delay_s: float, answer: bytes) -> None:
        write = partial(self._transport.write, answer)  # type: ignore[attr-defined]
        if delay_s:
            asyncio.get_running_loop().call_later(delay_s, write)
        else:
            write()


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        if line[:15].lower() == b"content-length:":
            return int(line[15:])
    return 0


def _response(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body


async def serve(latency_s: float) -> None:
    """Serve on a free port of the loopback interface until standard input ends."""
    counts = Counts()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(counts, latency_s), "127.0.0.1", 0, backlog=512)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency-ms", type=float, default=0)
    asyncio.run(serve(parser.parse_args().latency_ms / 1000))
