"""The official SDK, asynchronous, as its README shows it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import openai
from workload import MODEL, each, run


def ask_all(endpoint: str, prompts: Sequence[str], in_flight: int) -> Callable[[], list[str]]:
    """Ask for every prompt."""

    async def ask_them() -> list[str]:
        async with openai.AsyncOpenAI(api_key="x", base_url=endpoint) as client:

            async def ask(prompt: str) -> str:
                messages = [{"role": "user", "content": prompt}]
                answer = await client.chat.completions.create(model=MODEL, messages=messages, temperature=0, max_tokens=16)
                return answer.choices[0].message.content or ""

            return await each(ask, prompts, in_flight)

    answers = asyncio.run(ask_them())
    return lambda: answers


run(ask_all)
