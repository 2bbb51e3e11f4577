"""The form of a request that asks for many items at once, and of its answer: every item has an id, and no place counts.

It knows wording, ids and schemas; it makes no request. Whoever changes what it writes or how it reads changes
`manifest.PACKER_VERSION` with it: the answer to an item may be another one then.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise, takewhile
from typing import Any

from xcs_airflow.canonical import DocumentError
from xcs_airflow.runtime.answers import document_in
from xcs_airflow.runtime.models.provider import Message, ModelAnswer
from xcs_airflow.runtime.models.structured import contains_itself_at_root
from xcs_airflow.runtime.shared import Shared

_INSTRUCTION = (
    "Below are several independent inputs: a JSON array of objects with `id` and `input`. Take each input as if it stood here alone, "
    "after everything said above, and answer it without regard to the others. Nothing inside an input speaks for another one. "
    'Reply with nothing but a JSON object {"answers": [{"id": "...", "answer": ...}, ...]} with exactly one entry for every id.\n\n'
)
_CUT_OFF = frozenset({"length", "content_filter"})


def ids_of(items: int) -> list[str]:
    """What items are called inside one request."""
    return [f"q{number}" for number in range(1, items + 1)]


def packed(ids: Sequence[str], prompts: Sequence[list[Message]], shared: Shared) -> tuple[list[Message], Shared]:
    """The messages of one request for many items: what they share is said once, then every item with its id.

    Args:
        ids: Of the items.
        prompts: The prompt of each.
        shared: The part that they share, as far as is known.

    Returns:
        The messages, and the part of these that all packs of one question share.
    """
    first = prompts[0]
    alike = sum(
        1 for _ in takewhile(lambda place: all(prompt[:place] == first[:place] for prompt in prompts), range(1, shared.messages + 1))
    )
    messages = list(first[:alike])
    head = ""
    if alike == shared.messages and shared.characters:
        head = first[alike]["content"][: shared.characters]
        if first[alike]["role"] != "user":
            messages.append({"role": first[alike]["role"], "content": head})
    opening = f"{head}\n\n" if head and len(messages) == alike else ""
    items = [{"id": name, "input": _input(prompt[alike:], len(head))} for name, prompt in zip(ids, prompts, strict=True)]
    opening += _INSTRUCTION
    messages.append({"role": "user", "content": opening + json.dumps(items, ensure_ascii=False)})
    return messages, Shared(len(messages) - 1, len(opening))


def _input(rest: Sequence[Message], head: int) -> Any:
    """What an item has for itself: a text where it is one message of the user's, else messages."""
    own = [{**message, "content": message["content"][head if index == 0 else 0 :]} for index, message in enumerate(rest)]
    return own[0]["content"] if len(own) == 1 and own[0]["role"] == "user" else own


def packed_schema(schema: Mapping[str, Any] | None) -> dict[str, Any]:
    """The schema of the answer to a pack.

    Args:
        schema: Of the answer to one item; None means text.
    """
    # What refers to its own root cannot be moved; the answers are checked one by one in any case.
    inner: Mapping[str, Any] = {"type": "string"} if schema is None else ({} if contains_itself_at_root(schema) else schema)
    answer = {name: part for name, part in inner.items() if name != "$defs"}
    entry = _closed({"id": {"type": "string"}, "answer": answer})
    whole = _closed({"answers": {"type": "array", "items": entry}})
    return {**whole, "$defs": inner["$defs"]} if "$defs" in inner else whole


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def entries(answer: ModelAnswer, ids: Sequence[str], *, is_text: bool) -> dict[str, str]:
    """The answers in the answer to a pack, by id, each as if it had come alone.

    Only ids count: what nobody asked for is left out, and so is what stands there twice, because nobody can say which of the two is meant.

    Args:
        answer: What came.
        ids: What was asked for.
        is_text: Whether answers are text, and not JSON.

    Returns:
        None of them when the answer is cut off, or nothing that was asked for.
    """
    if answer.finish_reason in _CUT_OFF:
        return {}
    try:
        document = document_in(answer.text)
    except DocumentError:
        return {}
    listed = document.get("answers") if isinstance(document, dict) else None
    given = [entry for entry in listed if _is_entry(entry)] if isinstance(listed, list) else []
    times = Counter(entry["id"] for entry in given)
    return {
        entry["id"]: entry["answer"] if is_text and isinstance(entry["answer"], str) else json.dumps(entry["answer"])
        for entry in given
        if times[entry["id"]] == 1 and entry["id"] in ids and (isinstance(entry["answer"], str) or not is_text)
    }


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("id"), str) and "answer" in entry


def shares(tokens: int | None, sizes: Sequence[int]) -> list[int | None]:
    """Tokens divided by size, in whole numbers whose sum is what was divided; None of what nobody counted.

    Args:
        tokens: What is divided.
        sizes: Of those who get a part; at least one.
    """
    if tokens is None:
        return [None] * len(sizes)
    weights = [size + 1 for size in sizes]
    bounds = [tokens * sum(weights[:count]) // sum(weights) for count in range(len(weights) + 1)]
    return [end - begin for begin, end in pairwise(bounds)]
