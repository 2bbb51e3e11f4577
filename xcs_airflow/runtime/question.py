"""One kind of question: how rows become messages and keys, and how answers become values.

It knows what all calls of a step share; it makes no call.
"""

from __future__ import annotations

import time
from collections.abc import Container, Mapping, Sequence
from functools import cached_property
from typing import Any

from xcs_airflow.errors import ModelError, RuntimeTaskError
from xcs_airflow.manifest import PACKED_ITEM_TOKENS, PACKER_VERSION, CacheRule, ModelCall, Step
from xcs_airflow.runtime.answers import MisfitError, decode
from xcs_airflow.runtime.books import Account
from xcs_airflow.runtime.cache import CachedAnswer, Recipe
from xcs_airflow.runtime.functions import Function
from xcs_airflow.runtime.keys import KeyMaker, asked_by, row_key
from xcs_airflow.runtime.models.provider import Message, ModelAnswer, ModelRequest, Prefix
from xcs_airflow.runtime.models.routes import target_of
from xcs_airflow.runtime.models.structured import WRAPPER_TOKENS
from xcs_airflow.runtime.packs import packed, packed_schema
from xcs_airflow.runtime.settings import RuntimeSettings
from xcs_airflow.runtime.shared import Shared, before_last, shared_part

ATTEMPTS: int = Step.model_fields["attempts"].default
_FIRST_OF_ANSWER = 100
_CUT_OFF = frozenset({"length", "content_filter"})
_ROLES = frozenset({"system", "user", "assistant", "developer"})


class Question:
    """What a step asks.

    Attributes:
        name: The step's id.
        model: The model, as the pipeline names it.
        account: Whose books its calls belong into.
        target: Who answers.
        rule: How answers are remembered; None means that no other run may take them.
        attempts: How often one call is tried.
        pack: The most items that are asked in one request.

    Args:
        name: The step's id.
        call: The request, but for its inputs.
        rule: How answers are remembered.
        settings: Where models are.
        attempts: How often one call is tried.
        is_step: Whether a step of a run asks; else answers that no other run may take are not remembered at all.
        varies: The inputs that change from row to row; None means that all may.

    Raises:
        ModelError: Nobody is configured for the model.
        RuntimeTaskError: The function that writes the prompt cannot be imported.
    """

    def __init__(
        self,
        name: str,
        call: ModelCall,
        rule: CacheRule | None,
        settings: RuntimeSettings,
        attempts: int = ATTEMPTS,
        *,
        is_step: bool = False,
        varies: Container[str] | None = None,
    ) -> None:
        self.name = name
        self.model = call.model
        self.pack = call.pack
        self.account = Account(name, call.model, "packed") if self.is_packed else Account(name, call.model)
        self.target = target_of(call.model, settings)
        self.rule = rule
        self.attempts = attempts
        self._call = call
        self._writer = Function(call.prompt_func, name) if call.prompt_func is not None else None
        self._is_step = is_step
        self._varies = varies
        self._shared: Shared | None = None
        self._alone = KeyMaker(name, call, self.target, rule, settings.tenant) if rule is not None else None
        self._keys = self._alone
        if rule is not None and self.is_packed:
            self._keys = KeyMaker(name, call, self.target, rule, settings.tenant, packer=PACKER_VERSION)

    @cached_property
    def asked(self) -> str:
        """A digest of the step and the request, but for its messages: it stays when only the code before it changes."""
        return asked_by(self.name, self._call)

    @property
    def shape(self) -> str | None:
        """What its requests have in common, for who measures them; None where no step of a run asks."""
        return self._call.shape if self._is_step else None

    @property
    def is_packed(self) -> bool:
        """Whether many items are asked in one request."""
        return self.pack > 1

    @property
    def is_text(self) -> bool:
        """Whether answers are text, and not JSON."""
        return self._call.output_schema is None

    @property
    def runs_code(self) -> bool:
        """Whether writing a prompt calls the user's code."""
        return self._writer is not None

    def messages(self, row: Mapping[str, Any]) -> list[Message]:
        """The messages for one row of inputs.

        Raises:
            RuntimeTaskError: The user's function failed, or did not return a prompt.
        """
        if self._call.prompt is not None:
            if self._shared is None:
                self._shared = shared_part(self._call.prompt, row, self._varies)
            return self._call.prompt.render(row)
        if self._writer is None:
            return []
        written = self._writer(row)
        if isinstance(written, str):
            return [{"role": "user", "content": written}]
        if not _is_prompt(written):
            raise RuntimeTaskError.because("XCS709", operation=self.name, function=self._writer.address, type=type(written).__name__)
        return list(written)

    def keys(self, messages: Sequence[list[Message]], rows: Sequence[str] | None) -> list[str] | None:
        """The names under which answers are remembered: of the request, or of the row where no other run may take the answer.

        Args:
            messages: The prompt of every row.
            rows: The items' keys; None when there are none.

        Returns:
            One key a row; None when these answers are not remembered.
        """
        asked = asked_by(self.name, self._call, packer=PACKER_VERSION) if self.is_packed else self.asked
        return self._named(self._keys, asked, messages, rows)

    def keys_alone(self, messages: Sequence[list[Message]], rows: Sequence[str] | None) -> list[str] | None:
        """The names of the answers to the same prompts when each is asked alone; those of `keys` unless items are packed."""
        return self._named(self._alone, self.asked, messages, rows)

    def _named(self, maker: KeyMaker | None, asked: str, messages: Sequence[list[Message]], rows: Sequence[str] | None) -> list[str] | None:
        if maker is not None:
            return [maker.key(message) for message in messages]
        if rows is None or not self._is_step:
            return None
        return [row_key(asked, row, message) for row, message in zip(rows, messages, strict=True)]

    @property
    def recipe(self) -> Recipe | None:
        """What the keys of its requests have in common; None when other runs may not take the answers."""
        return self._keys.recipe if self._keys is not None else None

    @property
    def recipes(self) -> list[Recipe]:
        """Those of all keys that its answers may have: packed, and of items that are asked alone in the end."""
        makers = [maker for maker in dict.fromkeys((self._keys, self._alone)) if maker is not None]
        return [maker.recipe for maker in makers]

    def remembered(self, answer: ModelAnswer) -> CachedAnswer:
        """What is worth remembering of an answer."""
        return CachedAnswer(answer.text, answer.input_tokens, answer.output_tokens, answer.model, int(time.time()))

    def request(self, messages: list[Message], *, is_marked: bool = True) -> ModelRequest:
        """The complete request; whether the provider is asked to keep what it shares with others changes no answer."""
        call = self._call
        prefix = self._prefix(self.shared(messages)) if call.prefix is not None and is_marked else None
        return ModelRequest(call.model, messages, call.temperature, call.max_tokens, call.seed, call.output_schema, prefix)

    def _prefix(self, shared: Shared) -> Prefix | None:
        """What the provider is asked to keep; None where there is nothing."""
        rule = self._call.prefix
        return None if rule is None or not any(shared) else Prefix(*shared, rule.ttl_s, rule.prime)

    def packed_request(self, ids: Sequence[str], prompts: Sequence[list[Message]]) -> ModelRequest:
        """One request for many items.

        Args:
            ids: What the items are called in it.
            prompts: The prompt of each.
        """
        call = self._call
        messages, shared = packed(ids, prompts, self.shared(prompts[0]))
        limit = None if call.max_tokens is None else len(ids) * (call.max_tokens + PACKED_ITEM_TOKENS) + WRAPPER_TOKENS
        return ModelRequest(call.model, messages, call.temperature, limit, call.seed, self._packed_schema, self._prefix(shared))

    def shared(self, messages: list[Message]) -> Shared:
        """The part of a prompt that does not change from row to row: of a function's prompt perhaps all but the last message."""
        return before_last(messages) if self._shared is None else self._shared

    @cached_property
    def _packed_schema(self) -> dict[str, Any]:
        return packed_schema(self._call.output_schema)

    def read(self, answer: ModelAnswer) -> Any:
        """The value an answer stands for.

        Raises:
            ModelError: It was cut off (XCS705).
            MisfitError: It does not fit the output type.
        """
        if self._call.output_schema is not None and answer.finish_reason == "length":
            limit = self._call.max_tokens or answer.output_tokens
            raise ModelError.because("XCS705", operation=self.name, model=self.model, limit=limit)
        return decode(answer.text, self._call.output_schema)

    def read_again(self, answer: ModelAnswer) -> Any:
        """The value of a second answer.

        Raises:
            ModelError: It was cut off (XCS705), or does not fit either (XCS704).
        """
        try:
            return self.read(answer)
        except MisfitError as misfit:
            raise self.misfit(answer, misfit) from None

    def misfit(self, answer: ModelAnswer, misfit: MisfitError) -> ModelError:
        """What it means that an answer does not fit and is not asked for again."""
        began = answer.text[:_FIRST_OF_ANSWER]
        return ModelError.because("XCS704", operation=self.name, model=self.model, reason=misfit, answer=began)

    def is_worth_keeping(self, answer: ModelAnswer) -> bool:
        """Whether an answer is complete, and therefore good for the next who asks."""
        return answer.finish_reason not in _CUT_OFF

    def again(self, messages: list[Message], answer: ModelAnswer, misfit: MisfitError) -> list[Message]:
        """The messages that ask once more after an answer that does not fit."""
        complaint = f"That answer cannot be used: {misfit}. Answer again, with nothing but JSON that fits."
        # Providers refuse messages that say nothing.
        said = [{"role": "assistant", "content": answer.text}] if answer.text.strip() else []
        return [*messages, *said, {"role": "user", "content": complaint}]


def _is_prompt(written: Any) -> bool:
    return isinstance(written, (list, tuple)) and all(
        isinstance(message, dict)
        and message.keys() == {"role", "content"}
        and message["role"] in _ROLES
        and isinstance(message["content"], str)
        for message in written
    )
