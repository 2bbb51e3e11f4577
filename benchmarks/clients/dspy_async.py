"""dspy's language model, asynchronous, with the caches it has by default."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import dspy
from workload import MODEL, each, run

dspy.configure_cache(enable_disk_cache=False)


def ask_all(endpoint: str, prompts: Sequence[str], in_flight: int) -> Callable[[], list[str]]:
    """Ask for every prompt."""
    model = dspy.LM(f"openai/{MODEL}", api_key="x", api_base=endpoint, temperature=0, max_tokens=16)

    async def ask(prompt: str) -> str:
        answer = (await model.acall(prompt))[0]
        return answer if isinstance(answer, str) else answer["text"]

    answers = asyncio.run(each(ask, prompts, in_flight))
    return lambda: answers


run(ask_all)
