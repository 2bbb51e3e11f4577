"""litellm, asynchronous, without its look-up of prices on the network."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm
from workload import MODEL, each, run


def ask_all(endpoint: str, prompts: Sequence[str], in_flight: int) -> Callable[[], list[str]]:
    """Ask for every prompt."""

    async def ask(prompt: str) -> str:
        answer = await litellm.acompletion(
            f"openai/{MODEL}",
            [{"role": "user", "content": prompt}],
            temperature=0,
            max_tokens=16,
            api_key="x",
            base_url=endpoint,
        )
        return answer.choices[0].message.content

    answers = asyncio.run(each(ask, prompts, in_flight))
    return lambda: answers


run(ask_all)
