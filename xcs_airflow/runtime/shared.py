"""The part of a prompt that is the same for every item: what a provider's prompt cache may have, and what a pack says only once.

It knows prompts and which inputs change; it makes no request.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any, NamedTuple

from xcs_airflow.runtime.models.provider import Message
from xcs_airflow.values import Prompt, as_text


class Shared(NamedTuple):
    """Where the shared part of a prompt ends.

    Attributes:
        messages: How many messages are shared as a whole.
        characters: How much of the next one is.
    """

    messages: int
    characters: int = 0


def shared_part(prompt: Prompt, row: Mapping[str, Any], varies: Container[str] | None) -> Shared:
    """Everything before the first hole whose input changes from row to row.

    Args:
        prompt: The template.
        row: The inputs of one row; those that do not change are the same in every row.
        varies: The inputs that change; None means that all may.
    """
    for index, message in enumerate(prompt.messages):
        characters = 0
        for part in message.parts:
            if isinstance(part, str):
                characters += len(part)
            elif varies is None or part.input in varies:
                return Shared(index, characters)
            else:
                characters += len(as_text(row[part.input]))
    return Shared(len(prompt.messages))


def before_last(messages: list[Message]) -> Shared:
    """What may be shared of a prompt that a function wrote: instructions come first, and the item in the last message."""
    return Shared(max(0, len(messages) - 1))
