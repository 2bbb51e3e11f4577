"""Operations that ask a language model, and what is known about one such call before it is made.

It knows the request and the author's estimates; it does not know prices, tokenisers or providers' protocols.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from pydantic import Field, JsonValue

from xcs_airflow.ir.operation import Operation
from xcs_airflow.manifest import OnOrphan
from xcs_airflow.values import Frozen, Prompt

Mechanism = Literal["concurrent", "packed", "provider_batch"]
"""How the calls of a group are made: many in flight, many in one request, or through the provider's batch API."""


class LLMMetadata(Frozen):
    """What one call asks for and what its author expects of it.

    Attributes:
        model: `provider/name`, or a bare name when `provider` is given or unknown.
        provider: Who serves it; None takes the part of `model` before the first slash.
        estimated_tokens: Input and output tokens of one call together, when they are not known apart.
        estimated_input_tokens: Input tokens of one call.
        estimated_output_tokens: Output tokens of one call.
        estimated_cost_usd: Price of one call in US dollars; overrides the price table.
        estimated_latency_s: Seconds one call takes.
        temperature: Sampling temperature; None leaves it to the provider.
        max_tokens: Longest answer in tokens; None leaves it to the provider.
        seed: Sampling seed; None leaves it to the provider.
        cacheable: Whether the same request may be answered from memory; None means: if temperature is 0 or a seed is set.
        batchable: Whether calls may be grouped with others.
        quality_sensitive: Whether rewrites that can change answers are forbidden even where allowed by default.
        max_pack: The most items that may be asked in one request; 1 never packs. Off by default, because packing changes answers: they
            get worse and depend on the place of the item in the pack (Lin et al. 2023, arXiv:2309.00384), and DocETL's documentation
            of its map operator warns that more than 5 items give more wrong results.
    """

    model: str
    provider: str | None = None
    estimated_tokens: int | None = None
    estimated_input_tokens: int | None = None
    estimated_output_tokens: int | None = None
    estimated_cost_usd: Decimal | None = None
    estimated_latency_s: float | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    cacheable: bool | None = None
    batchable: bool = True
    quality_sensitive: bool = False
    max_pack: int = 1

    @property
    def is_deterministic(self) -> bool:
        """Whether its author declared that the same request may get the same answer."""
        if self.cacheable is not None:
            return self.cacheable
        return self.temperature == 0 or self.seed is not None

    @property
    def provider_name(self) -> str:
        """Who serves the model; `unknown` when neither field says."""
        if self.provider is not None:
            return self.provider
        provider, slash, _ = self.model.partition("/")
        return provider if slash else "unknown"

    @property
    def model_name(self) -> str:
        """The model's name at its provider."""
        provider, slash, name = self.model.partition("/")
        return name if slash and self.provider in (None, provider) else self.model


class CachePolicy(Frozen):
    """Set by `CacheInsertionPass`: answers of this operation are remembered.

    Attributes:
        ttl_s: For how many seconds an answer is good; None means for ever.
        epoch: A word that enters every key: change it to forget everything.
    """

    ttl_s: int | None = None
    epoch: str = ""


class BatchPolicy(Frozen):
    """Set by `PromptBatchingPass`, or by the author: this operation's calls are made together with others.

    Attributes:
        group: The group's name; operations of one group become one task.
        mechanism: How the calls are made.
        in_flight: How many calls may wait for an answer at a time, in one shard.
        pack_size: The most items of one request, where the mechanism is `packed`; never more than the metadata's `max_pack`.
        on_orphan: What to do about a batch at the provider's that may or may not have been submitted.
    """

    group: str
    mechanism: Mechanism = "concurrent"
    in_flight: int = 1
    pack_size: int = 1
    on_orphan: OnOrphan = "fail"


class PrefixPolicy(Frozen):
    """Set by a pass: the part of the prompt that all items share is worth a place in the provider's prompt cache.

    That part is everything before the first hole whose input changes from item to item. Marking it changes no answer and no key of
    a remembered one; a provider whose cache needs no marker gets none.

    Attributes:
        ttl_s: For how many seconds it is to stay: 300, or 3600 where reads come later than that. Anthropic takes 1.25 times the price
            of input for the first, and twice for the second (platform.claude.com/docs/en/build-with-claude/prompt-caching).
        prime: Whether one call is answered before the others begin, so that these find what it wrote. Through a provider's batch API,
            a batch of one request goes first, and the others when it has ended.
        prime_from: Through a batch API, from how many requests on: fewer go as they are, at once and without a mark.
    """

    ttl_s: Literal[300, 3600] = 300
    prime: bool = False
    prime_from: int = Field(default=2, ge=2)


class LLMOperation(Operation):
    """An operation that asks a model, once or once per item.

    It has exactly one of `prompt` (a template), `prompt_func` (a function that writes the prompt) and `func` (a function that
    asks the model itself, of which only the metadata is known).

    Attributes:
        metadata: What one call asks for and what is expected of it.
        prompt: The prompt as data.
        prompt_func: Address of a function that returns the prompt; `code` is that function's.
        output_schema: JSON Schema of the answer; None means plain text.
        cache: How answers are remembered; None until a pass decides.
        batch: How calls are grouped; None until a pass decides.
        prefix: What is to become of the shared part of the prompt; None leaves it to the provider.
        probe: Whether its task is started only if not all its answers are known, which a smaller one finds out; set by `ProbeBeforeStart`.
    """

    kind: Literal["llm"] = "llm"
    metadata: LLMMetadata
    prompt: Prompt | None = None
    prompt_func: str | None = None
    output_schema: dict[str, JsonValue] | None = None
    cache: CachePolicy | None = None
    batch: BatchPolicy | None = None
    prefix: PrefixPolicy | None = None
    probe: bool = False

    @property
    def items_per_request(self) -> int:
        """How many items one request asks for, at most."""
        return self.batch.pack_size if self.batch is not None and self.batch.mechanism == "packed" else 1

    @property
    def is_pure(self) -> bool:
        """Whether the same inputs may be answered once for all."""
        return self.metadata.is_deterministic
