"""The name under which an answer is remembered: a digest of everything that can change it.

It knows what enters a key; it does not know caches. Nothing is left out by a list: a field that requests gain later enters the
keys by itself. Only the name in the pipeline is replaced, by what it stands for: provider, address and served model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from xcs_airflow.canonical import canonical_json
from xcs_airflow.manifest import CacheRule, ModelCall
from xcs_airflow.runtime.models.provider import Message
from xcs_airflow.runtime.models.routes import Target

KEY_SCHEMA = 1
"""Changes when the same request would be sent or read differently."""


class KeyMaker:
    """Makes the keys of one step: what its calls share is worked in once.

    Args:
        call: The request, but for its messages.
        target: Who answers.
        rule: How answers are remembered.
        tenant: For whom.
    """

    def __init__(self, call: ModelCall, target: Target, rule: CacheRule, tenant: str) -> None:
        request = call.model_dump(mode="json", exclude={"model", "prompt", "prompt_func"})
        place = {"provider": target.provider, "address": target.address, "model": target.served_model}
        shared = {"key_schema": KEY_SCHEMA, "request": request, "place": place, "tenant": tenant, "epoch": rule.epoch}
        self._shared = hashlib.sha256(canonical_json(shared).encode())

    def key(self, messages: Sequence[Message]) -> str:
        """The key of a request with these messages."""
        whole = self._shared.copy()
        whole.update(canonical_json(messages).encode())
        return whole.hexdigest()
