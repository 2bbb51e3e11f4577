"""What a model call costs: a user's price file first, then our own dated rows, then the pinned data of genai-prices.

It knows models, tokens and US dollars; it does not know graphs. It never asks the network or the clock.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache, lru_cache
from importlib.metadata import version
from math import floor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, ValidationError

from xcs_airflow.canonical import DocumentError, load_json
from xcs_airflow.cost.figures import PriceSource
from xcs_airflow.errors import CODES, Finding, PlanError
from xcs_airflow.values import Frozen

if TYPE_CHECKING:
    from datetime import datetime

    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ModelInfo, Provider

_DATA = Path(__file__).parent / "data" / "prices.json"
_PACKAGE = "genai-prices"
_MILLION = Decimal(1_000_000)
_DATE = r"^\d{4}-\d{2}-\d{2}$"

LivePrice = Callable[[int, int, int], Decimal | None]
"""The price of a live call with so many tokens of input, output and cached input."""


class Rates(Frozen):
    """What a million tokens of one model cost in US dollars.

    Attributes:
        input_per_million_usd: Of input.
        output_per_million_usd: Of output; None means that the model has no price for output.
        cached_input_per_million_usd: Of input that the provider had in its prompt cache; None means the price of input.
        written_input_per_million_usd: Of input that the provider took into its prompt cache; None means the price of input.
        hour_input_per_million_usd: The same, where it is to stay for an hour; None means the price of what stays for less.
    """

    input_per_million_usd: Decimal = Field(ge=0)
    output_per_million_usd: Decimal | None = Field(ge=0)
    cached_input_per_million_usd: Decimal | None = Field(default=None, ge=0)
    written_input_per_million_usd: Decimal | None = Field(default=None, ge=0)
    hour_input_per_million_usd: Decimal | None = Field(default=None, ge=0)

    def price(
        self, input_tokens: int, output_tokens: int, cached_tokens: int, written_tokens: int = 0, hour_tokens: int = 0
    ) -> Decimal | None:
        """The price of one call; None when it has output and output has no price. See `PriceBook.price`."""
        if output_tokens and self.output_per_million_usd is None:
            return None
        fresh = self.input_per_million_usd
        cached = fresh if self.cached_input_per_million_usd is None else self.cached_input_per_million_usd
        output = self.output_per_million_usd or Decimal(0)
        total = fresh * (input_tokens - cached_tokens - written_tokens) + cached * cached_tokens + output * output_tokens
        if written_tokens:
            written = fresh if self.written_input_per_million_usd is None else self.written_input_per_million_usd
            hour = written if self.hour_input_per_million_usd is None else self.hour_input_per_million_usd
            total += written * (written_tokens - hour_tokens) + hour * hour_tokens
        return total / _MILLION


class _FileRates(Rates):
    output_per_million_usd: Decimal = Field(ge=0)


class _OwnRates(_FileRates):
    batch_share: Decimal | None = Field(default=None, ge=0, le=1)


class PriceFile(Frozen):
    """The prices a user gives: JSON or TOML.

    Attributes:
        source: Where they come from: an address, a contract.
        as_of: The date, YYYY-MM-DD, they were looked up.
        models: Rates by model, each `provider/name` as in the pipeline; `batch_share` is what a call costs in a provider's batch, as
            a share of its live price.
    """

    source: str
    as_of: str = Field(pattern=_DATE)
    models: dict[str, _OwnRates]


class _KnownRow(_FileRates):
    prefix: str
    as_of: str = Field(pattern=_DATE)
    source: str


class BatchDiscount(Frozen):
    """What calls cost in a provider's batch, as a share of what they cost live.

    Attributes:
        share: Of the price of input and output.
        cached_share: Of the price of input from the provider's prompt cache: 1 where only one of the two discounts is given.
    """

    share: Decimal = Field(ge=0, le=1)
    cached_share: Decimal = Field(ge=0, le=1)

    def price(self, live: LivePrice, input_tokens: int, output_tokens: int, cached_tokens: int) -> Decimal | None:
        """The price of one call; None when its live price is not known.

        Args:
            live: What calls cost live, given their tokens.
            input_tokens: All of them.
            output_tokens: All of them.
            cached_tokens: Of the input, those from the prompt cache. They never cost more than others do in the batch.
        """
        whole = live(input_tokens, output_tokens, cached_tokens)
        if whole is None or self.cached_share == self.share or not cached_tokens:
            return None if whole is None else whole * self.share
        cached, fresh = live(cached_tokens, 0, cached_tokens), live(cached_tokens, 0, 0)
        if cached is None or fresh is None:
            return None
        return (whole - cached) * self.share + min(cached * self.cached_share, fresh * self.share)


class _KnownDiscount(BatchDiscount):
    prefix: str
    as_of: str = Field(pattern=_DATE)
    source: str


class _KnownData(Frozen):
    as_of: str = Field(pattern=_DATE)
    models: tuple[_KnownRow, ...]
    batches: tuple[_KnownDiscount, ...]


@dataclass(frozen=True)
class PriceBook:
    """Prices of model calls.

    Attributes:
        source: Where its prices come from.
    """

    source: PriceSource
    _overrides: Mapping[str, _OwnRates] = field(default_factory=dict, repr=False)

    @classmethod
    def load(cls, overrides: Path | None = None) -> Self:
        """The price book of the pinned data, with a user's own prices before it.

        Args:
            overrides: A price file, JSON or TOML; see docs/costs.md.

        Raises:
            PlanError: The file cannot be read or is not a price file (XCS403); the error carries every finding.
        """
        given = None if overrides is None else read_price_file(overrides)
        shown = None if overrides is None or given is None else f"{overrides.name}: {given.source} ({given.as_of})"
        source = PriceSource(name=_PACKAGE, version=version(_PACKAGE), as_of=_known_data().as_of, overrides=shown)
        return cls(source, dict(given.models) if given else {})

    def price(
        self,
        model: str,
        input_tokens: int,
        output_tokens: int,
        cached_tokens: int = 0,
        *,
        written_tokens: int = 0,
        hour_tokens: int = 0,
        is_batch: bool = False,
    ) -> Decimal | None:
        """The price of one call in US dollars; None when nobody knows it.

        Args:
            model: `provider/name`, or a bare name.
            input_tokens: All input tokens, those from the provider's prompt cache included.
            output_tokens: All output tokens.
            cached_tokens: Input tokens that came from the provider's prompt cache.
            written_tokens: Input tokens that the provider took into its prompt cache; they cost what input costs where nobody knows more.
            hour_tokens: Of these, those that stay there for an hour instead of five minutes.
            is_batch: Whether it goes through the provider's batch API.
        """
        tokens = input_tokens, output_tokens, cached_tokens
        if is_batch:
            return self._batch_price(model, *tokens, written_tokens, hour_tokens)
        rates = self._overrides.get(model) or _known_rates(model)
        written = written_tokens, hour_tokens
        return _table_price(model, *tokens, *written) if rates is None else rates.price(*tokens, *written)

    def _batch_price(self, model: str, input_tokens: int, output_tokens: int, cached_tokens: int, *written: int) -> Decimal | None:
        """The price in a provider's batch; what it costs more to take input into the prompt cache has the discount, too."""
        discount = self._discount(model)
        if discount is None:
            return None
        tokens = input_tokens, output_tokens, cached_tokens
        price = discount.price(lambda *of: self.price(model, *of), *tokens)
        if price is None or not any(written):
            return price
        whole, without = self.price(model, *tokens, written_tokens=written[0], hour_tokens=written[1]), self.price(model, *tokens)
        return None if whole is None or without is None else price + (whole - without) * discount.share

    def mean_price(
        self, model: str, input_tokens: float, output_tokens: float, cached_tokens: float = 0.0, *, is_batch: bool = False
    ) -> Decimal | None:
        """The price of a call with as many tokens as the mean of many has: between the prices of whole numbers of tokens.

        Args:
            model: `provider/name`, or a bare name.
            input_tokens: All input tokens, those from the provider's prompt cache included.
            output_tokens: All output tokens.
            cached_tokens: Input tokens that came from the provider's prompt cache.
            is_batch: Whether it goes through the provider's batch API.
        """
        into, out, cached = floor(input_tokens), floor(output_tokens), floor(cached_tokens)
        price = base = self.price(model, into, out, cached, is_batch=is_batch)
        for count, more in ((input_tokens - into, (into + 1, out)), (output_tokens - out, (into, out + 1))):
            if count and price is not None and base is not None:
                next_price = self.price(model, *more, cached, is_batch=is_batch)
                price = None if next_price is None else price + (next_price - base) * Decimal(f"{count:.6f}")
        return price

    def _discount(self, model: str) -> BatchDiscount | None:
        """What a model costs in a batch; None when nobody knows. A model in the user's file is priced by the file alone."""
        own = self._overrides.get(model)
        if own is None:
            return _known_discount(model)
        return None if own.batch_share is None else BatchDiscount(share=own.batch_share, cached_share=own.batch_share)


def read_price_file(path: Path) -> PriceFile:
    """A user's prices.

    Raises:
        PlanError: The file cannot be read or is not a price file (XCS403); the error carries every finding.
    """
    try:
        document = _parsed(path)
    except OSError as error:
        raise PlanError.because("XCS403", file=path, reason=error.strerror or str(error)) from None
    except DocumentError as error:
        raise PlanError.because("XCS403", file=path, reason=why_unreadable(error)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PlanError.because("XCS403", file=path, reason=str(error)) from None
    try:
        return PriceFile.model_validate(document)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False)
        reasons = [f"{'.'.join(map(str, detail['loc'])) or 'the document'}: {detail['msg']}" for detail in details]
        raise PlanError([Finding.of("XCS403", file=path, reason=reason) for reason in reasons]) from None


def why_unreadable(error: DocumentError) -> str:
    """Why a document that is no graph was refused."""
    return str(error.facts.get("reason") or CODES[error.code].message.format_map(error.facts))


def _parsed(path: Path) -> Any:
    content = path.read_bytes()
    if path.suffix == ".toml":
        return tomllib.loads(content.decode(), parse_float=Decimal)
    return load_json(content)


@cache
def _known_data() -> _KnownData:
    return _KnownData.model_validate(json.loads(_DATA.read_bytes()))


@cache
def _known_rates(model: str) -> Rates | None:
    return next((row for row in _known_data().models if model.startswith(row.prefix)), None)


@cache
def _known_discount(model: str) -> BatchDiscount | None:
    return next((row for row in _known_data().batches if model.startswith(row.prefix)), None)


@cache
def _snapshot() -> DataSnapshot:
    """The data inside the installed package, whatever a process may have fetched since."""
    from genai_prices.data import providers  # noqa: PLC0415  # 0.4 s that only prices need
    from genai_prices.data_snapshot import DataSnapshot  # noqa: PLC0415

    return DataSnapshot(providers=providers, from_auto_update=False)


@cache
def _as_of() -> datetime:
    from datetime import UTC, datetime  # noqa: PLC0415

    return datetime.fromisoformat(_known_data().as_of).replace(tzinfo=UTC)


@cache
def _found(model: str) -> tuple[Provider, ModelInfo] | None:
    provider, slash, name = model.partition("/")
    try:
        return _snapshot().find_provider_model(name if slash else model, None, provider if slash else None, None)
    except LookupError:
        return None


@cache
def _linear_rates(model: str) -> Rates | None:
    """The rates of a model whose price is a plain sum; None when it has tiers or charges for the request itself."""
    found = _found(model)
    if found is None:
        return None
    prices = found[1].get_prices(_as_of())
    names = ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok", "cache_write_1h_mtok", "requests_kcount")
    text = [getattr(prices, name) for name in names]
    if text[0] is None or text[-1] is not None or not all(price is None or isinstance(price, Decimal) for price in text):
        return None
    return Rates.model_construct(
        input_per_million_usd=text[0],
        output_per_million_usd=text[1],
        cached_input_per_million_usd=text[2],
        written_input_per_million_usd=text[3],
        hour_input_per_million_usd=text[4],
    )


def _table_price(model: str, *tokens: int) -> Decimal | None:
    rates = _linear_rates(model)
    return _calculated(model, *tokens) if rates is None else rates.price(*tokens)


@lru_cache(maxsize=4096)
def _calculated(
    model: str, input_tokens: int, output_tokens: int, cached_tokens: int, written_tokens: int, hour_tokens: int
) -> Decimal | None:
    """What genai-prices itself calculates, for prices with tiers; where it has no row for tokens in use, nobody knows."""
    found = _found(model)
    if found is None:
        return None
    from genai_prices import Usage  # noqa: PLC0415

    provider, info = found
    prices = info.get_prices(_as_of())
    if (input_tokens and prices.input_mtok is None) or (output_tokens and prices.output_mtok is None):
        return None
    usage = Usage(input_tokens=input_tokens, output_tokens=output_tokens, cache_read_tokens=cached_tokens)
    if prices.cache_write_mtok is not None:
        usage.cache_write_tokens = written_tokens
        usage.cache_write_1h_tokens = hour_tokens if prices.cache_write_1h_mtok is not None else None
    return info.calc_price(usage, provider, genai_request_timestamp=_as_of()).total_price
