"""The name under which an answer is remembered: two digests, of the prompt and of everything else that can change the answer.

It knows what enters a key; it does not know caches. Nothing is left out by a list: a field that requests gain later enters the
keys by itself. Only the name in the pipeline is replaced, by what it stands for: provider, address and served model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from json.encoder import encode_basestring_ascii as _quoted

from xcs_airflow.canonical import canonical_json, digest
from xcs_airflow.manifest import CacheRule, ModelCall
from xcs_airflow.runtime.cache import Recipe
from xcs_airflow.runtime.models.provider import Message
from xcs_airflow.runtime.models.routes import Target

KEY_SCHEMA = 2
"""Changes when the same request would be sent or read differently."""

_SENT_HOW = frozenset({"pack", "prefix"})
"""How requests are sent, which is nothing that they ask. That an answer came in a pack enters its key as the packer's version."""

_PROMPT_DIGITS, _RECIPE_DIGITS = 40, 24
"""Of 160 and 96 bits: together as many digits as SHA-256 has, and each half alone still tells what changed."""


class KeyMaker:
    """Makes the keys of one step: what its calls share is worked in once.

    Args:
        operation: Who asks, for people; it enters no key.
        call: The request, but for its messages.
        target: Who answers.
        rule: How answers are remembered.
        tenant: For whom.
        packer: What wrote the requests that ask for many items at once; None when each is asked for alone.
    """

    def __init__(self, operation: str, call: ModelCall, target: Target, rule: CacheRule, tenant: str, *, packer: int | None = None) -> None:
        request = call.model_dump(mode="json", exclude={"model", "prompt", "prompt_func", *_SENT_HOW})
        place = {"provider": target.provider, "address": target.address, "model": target.served_model}
        packed = {} if packer is None else {"packer": packer}
        shared = {"key_schema": KEY_SCHEMA, "request": request, "place": place, "tenant": tenant, "epoch": rule.epoch, **packed}
        self._operation = operation
        self._fields = {**request, **place, "tenant": tenant, "epoch": rule.epoch, "key_schema": KEY_SCHEMA, **packed}
        self._recipe = hashlib.sha256(canonical_json(shared).encode()).hexdigest()[:_RECIPE_DIGITS]
        # With the tenant, so that the names in a shared place do not tell who asks the same as somebody else.
        self._prompts = hashlib.sha256(canonical_json([KEY_SCHEMA, tenant]).encode())

    @cached_property
    def recipe(self) -> Recipe:
        """What all keys have in common, for people who wonder why an answer was not found."""
        return Recipe(self._recipe, self._operation, self._fields)

    def key(self, messages: Sequence[Message]) -> str:
        """The key of a request with these messages."""
        prompt = self._prompts.copy()
        prompt.update(_canonical(messages).encode())
        return prompt.hexdigest()[:_PROMPT_DIGITS] + self._recipe


def _canonical(messages: Sequence[Message]) -> str:
    """`canonical_json` of a prompt, several times as fast: there are as many prompts as rows."""
    parts = [f'{{"content":{_quoted(message["content"])},"role":{_quoted(message["role"])}}}' for message in messages]
    return f"[{','.join(parts)}]"


def halves(key: str) -> tuple[str, str]:
    """The digests of the prompt and of the recipe in a key."""
    return key[:_PROMPT_DIGITS], key[_PROMPT_DIGITS:]


def asked_by(step: str, call: ModelCall, *, packer: int | None = None) -> str:
    """A digest of who asks and of the request, but for its messages: what the keys of the rows of one step share."""
    request = call.model_dump(mode="json", exclude={"prompt", "prompt_func", *_SENT_HOW})
    return digest([step, request] if packer is None else [step, request, packer])


def row_key(asked: str, row: str, messages: Sequence[Message]) -> str:
    """The name of the answer for one item of one step, good for one run: for calls whose answers nobody else may take.

    It does not depend on where a prompt came from: when only that changed, the answer is not paid for again.

    Args:
        asked: What `asked_by` says of the step.
        row: The item's key.
        messages: Its prompt.
    """
    return hashlib.sha256(canonical_json([asked, row, messages]).encode()).hexdigest()
