"""What the calls of a run may cost together: the worst case of a call is set aside before it is made.

It knows what a purse promises and what a call costs at worst; `purse.py` knows how attempts share one budget.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from decimal import Decimal
from typing import Protocol

from xcs_airflow.errors import ModelError
from xcs_airflow.runtime.attempt import Attempt
from xcs_airflow.runtime.books import Price
from xcs_airflow.runtime.models.provider import ModelAnswer, ModelRequest
from xcs_airflow.runtime.models.routes import Target
from xcs_airflow.runtime.models.structured import WRAPPER_TOKENS

TOKENS_PER_MESSAGE = 16
"""What a message may take besides its text: its role and the marks around it. 4 are usual (OpenAI's cookbook, "How to count tokens")."""

TOKENS_PER_REQUEST = 64
"""What a request may take besides its messages."""

_SHORT_S = 300

TOKENS_PER_SCHEMA = 1024
"""What a provider may say to the model about an output schema, besides the schema itself."""


class BudgetError(ModelError):
    """A call could cost more than is left of the run's budget."""


class BudgetHeldError(BudgetError):
    """The same, but other tasks hold money that may become free: the task should be tried again later."""

    retryable = True


class Purse(Protocol):
    """One attempt's share of a run's budget. Any thread and any event loop may use it.

    Every reservation ends in exactly one of `paid`, `unpaid` and `lost`.
    """

    async def reserve(self, target: Target, request: ModelRequest) -> Decimal:
        """Set aside what a live call costs at worst, in US dollars.

        It waits for the attempt's own calls in flight, and for a while for other attempts, when they may leave enough.

        Raises:
            BudgetError: It is more than is left (XCS730), or nobody knows what it may cost (XCS731, XCS732).
            BudgetHeldError: It is more than is left as long as other attempts hold what they hold (XCS733).
        """

    def still_has(self, reserved: Decimal) -> bool:
        """Whether what was set aside is still this attempt's. A call is made only if it is after its intent was written."""

    def paid(self, reserved: Decimal, target: Target, answer: ModelAnswer) -> None:
        """A live call was answered: what it cost is spent, the rest of what was set aside is free again."""

    def unpaid(self, reserved: Decimal) -> None:
        """A call was not made, or not answered, and costs nothing."""

    def lost(self, reserved: Decimal) -> None:
        """Nobody knows what became of a call: its worst case counts as spent."""

    async def hold(self, name: str, target: Target, requests: Iterable[ModelRequest]) -> Decimal:
        """Set aside what a provider's batch costs at worst, beyond the end of this attempt; to be done before it is submitted.

        Args:
            name: Of the batch, the same in every attempt. What is held already under this name is not held again.
            target: Who would answer.
            requests: All its requests.

        Returns:
            What is held, in US dollars.

        Raises:
            BudgetError: As `reserve` does; then nothing is held.
        """

    async def release(self, name: str, spent_usd: Decimal | None) -> None:
        """A batch has come to its end, in whatever attempt: what it did not cost is free again.

        Args:
            name: Of the batch. Nothing happens when nothing is held under it, so it may be released again.
            spent_usd: What it cost, 0 when it was not submitted; None when nobody knows, then everything held is spent.
        """

    def close(self) -> None:
        """Give back what was neither spent nor may have been. It waits for the store."""


def open_purse(attempt: Attempt, price: Price) -> Purse | None:
    """The purse of an attempt; None when the run has no budget. The store is asked when the first call is.

    Args:
        attempt: Who spends.
        price: What calls cost.
    """
    budget_usd = attempt.manifest.budget_usd
    if budget_usd is None:
        return None
    from xcs_airflow.runtime.purse import RunPurse  # noqa: PLC0415  # few runs have a budget

    return RunPurse.of(attempt, budget_usd, price)


def most_tokens(request: ModelRequest) -> int:
    """More tokens than the input of a request can have.

    A token of text stands for at least one byte of its UTF-8 form, whatever the tokeniser: those that work on bytes begin with
    the 256 bytes as their alphabet and only ever merge them (Sennrich et al. 2016, GPT-2), and those that work on characters fall
    back to single bytes. English text has about four bytes in a token, so the bound is loose, but it is one.
    """
    text = sum(len(message["content"].encode(errors="surrogatepass")) for message in request.messages)
    tokens = text + TOKENS_PER_MESSAGE * len(request.messages) + TOKENS_PER_REQUEST
    if request.output_schema is not None:
        tokens += len(json.dumps(request.output_schema)) + TOKENS_PER_SCHEMA
    return tokens


def worst_case(target: Target, request: ModelRequest, price: Price, *, is_batch: bool = False) -> Decimal:
    """What a call costs at most, in US dollars; nothing where the route bills nothing.

    A batch whose own price nobody knows is valued at the price of live calls, which no batch exceeds.

    Raises:
        BudgetError: Its answer has no longest length (XCS731), or its model no price (XCS732).
    """
    if target.route.billing == "none":
        return Decimal(0)
    if request.max_tokens is None:
        raise BudgetError.because("XCS731", model=target.model)
    longest = request.max_tokens + (WRAPPER_TOKENS if request.output_schema is not None else 0)
    most = most_tokens(request)
    # Taking input into a prompt cache costs more than input.
    written = most if request.prefix is not None else 0
    hour = written if request.prefix is not None and request.prefix.ttl_s > _SHORT_S else 0
    amount = _known(price, target.answered_by, (most, longest, 0), (written, hour), is_batch=is_batch)
    if amount is None:
        raise BudgetError.because("XCS732", model=target.answered_by)
    return amount


def cost_of(target: Target, answer: ModelAnswer, price: Price, *, is_batch: bool = False) -> Decimal | None:
    """What an answer cost, never less than it was billed; None when nobody knows."""
    if target.route.billing == "none":
        return Decimal(0)
    if answer.input_tokens is None or answer.output_tokens is None:
        return None
    tokens = answer.input_tokens, answer.output_tokens, answer.cached_tokens
    return _known(price, target.answered_by, tokens, (answer.written_tokens, answer.hour_tokens), is_batch=is_batch)


def _known(price: Price, model: str, tokens: tuple[int, int, int], written: tuple[int, int], *, is_batch: bool) -> Decimal | None:
    written_tokens, hour_tokens = written
    batched = price(model, *tokens, written_tokens=written_tokens, hour_tokens=hour_tokens, is_batch=True) if is_batch else None
    return price(model, *tokens, written_tokens=written_tokens, hour_tokens=hour_tokens) if batched is None else batched


_CURRENT: ContextVar[Purse | None] = ContextVar("xcs_airflow.runtime.budget", default=None)


def current_purse() -> Purse | None:
    """The purse of the task that runs here; None when there is no limit."""
    return _CURRENT.get()


@contextmanager
def spending_from(purse: Purse | None) -> Iterator[None]:
    """Let calls that functions of the pipeline make by themselves be paid from this purse, too."""
    token = _CURRENT.set(purse)
    try:
        yield
    finally:
        _CURRENT.reset(token)
