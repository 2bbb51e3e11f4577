"""The limit: aiohttp, one coroutine per call in flight, nothing remembered, nothing written down; equal prompts are asked once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import aiohttp
from workload import MODEL, run


def ask_all(endpoint: str, prompts: Sequence[str], in_flight: int) -> Callable[[], list[str]]:
    """Ask for each distinct prompt once."""
    answers = asyncio.run(_ask_all(f"{endpoint}/chat/completions", prompts, in_flight))
    return lambda: answers


async def _ask_all(url: str, prompts: Sequence[str], in_flight: int) -> list[str]:
    answers: dict[str, str] = {}
    queue = iter(dict.fromkeys(prompts))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=in_flight)) as session:

        async def work() -> None:
            for prompt in queue:
                body = {"model": MODEL, "messages": [{"role": "user", "content": prompt}], "temperature": 0, "max_tokens": 16}
                async with session.post(url, json=body) as response:
                    document = await response.json()
                answers[prompt] = document["choices"][0]["message"]["content"]

        await asyncio.gather(*(work() for _ in range(in_flight)))
    return [answers[prompt] for prompt in prompts]


run(ask_all)
