"""Reads prompt templates: `{ticket}` is an input, every other brace is text.

It knows templates; it does not know models.
"""

from __future__ import annotations

import keyword
import re

from xcs_airflow.values import Hole, Message, Prompt

_HOLE = re.compile(r"\{([^\W\d]\w*)\}")


def read_prompt(template: str, system: str | None = None) -> Prompt:
    """A template as a prompt.

    Args:
        template: The user's message.
        system: The system message before it, a template too.
    """
    user = Message(role="user", parts=_parts(template))
    return Prompt(messages=(user,) if system is None else (Message(role="system", parts=_parts(system)), user))


def _parts(template: str) -> tuple[str | Hole, ...]:
    parts: list[str | Hole] = []
    end = 0
    for match in _HOLE.finditer(template):
        if keyword.iskeyword(match[1]):
            continue
        parts += [template[end : match.start()], Hole(input=match[1])]
        end = match.end()
    parts.append(template[end:])
    return tuple(part for part in parts if part != "")
