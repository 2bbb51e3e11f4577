"""What is in a cache: whose answers, how many, how large, how old, what asking for them again would cost; and choosing among them.

It knows entries and recipes; it removes nothing by itself.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

from xcs_airflow.runtime.books import Price
from xcs_airflow.runtime.cache.entry import Cache, CachedAnswer, Recipe
from xcs_airflow.runtime.keys import halves

_AT_A_TIME = 1000


class Origin(NamedTuple):
    """Where answers come from.

    Attributes:
        operations: Who asks so, in alphabetical order; none when nobody noted it.
        model: The model as it was asked, with its provider; when nobody noted it, what the answer says.
    """

    operations: tuple[str, ...]
    model: str


@dataclass(slots=True)
class Holding:
    """The answers of one origin.

    Attributes:
        operations: Who asks so.
        model: Who answered.
        entries: How many answers.
        text_bytes: How long their texts are together.
        input_tokens: Of the requests, as far as the provider counted.
        output_tokens: Of the answers, likewise.
        oldest: When the first came, in seconds since 1970.
        newest: When the last came.
        worth_usd: What asking for them again would cost, without those whose price is unknown.
        entries_without_price: How many these are.
    """

    operations: tuple[str, ...]
    model: str
    entries: int = 0
    text_bytes: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    oldest: int | None = None
    newest: int | None = None
    worth_usd: Decimal = Decimal(0)
    entries_without_price: int = 0

    def add(self, answer: CachedAnswer, price: Decimal | None) -> None:
        """Count an answer in."""
        self.entries += 1
        self.text_bytes += len(answer.text.encode("utf-8", "surrogatepass"))
        self.input_tokens += answer.input_tokens or 0
        self.output_tokens += answer.output_tokens or 0
        self.oldest = answer.created_at if self.oldest is None else min(self.oldest, answer.created_at)
        self.newest = answer.created_at if self.newest is None else max(self.newest, answer.created_at)
        self.worth_usd += price or 0
        self.entries_without_price += price is None

    def to_dict(self) -> dict[str, Any]:
        """The JSON form: money as decimal text, None when nothing of it is known."""
        is_unknown = self.entries > 0 and self.entries_without_price == self.entries
        return {**asdict(self), "operations": list(self.operations), "worth_usd": None if is_unknown else f"{self.worth_usd:f}"}


@dataclass(frozen=True, slots=True)
class Inventory:
    """All that a tenant has in a cache.

    Attributes:
        holdings: By origin, the largest first.
        unreadable: Entries that are damaged or cannot be decrypted: they count as missing.
    """

    holdings: tuple[Holding, ...] = ()
    unreadable: int = 0

    @property
    def total(self) -> Holding:
        """All holdings together."""
        sums: Counter[str] = Counter()
        for name in ("entries", "text_bytes", "input_tokens", "output_tokens", "entries_without_price"):
            sums[name] = sum(getattr(holding, name) for holding in self.holdings)
        return Holding(
            (),
            "",
            **sums,
            oldest=min((holding.oldest for holding in self.holdings if holding.oldest is not None), default=None),
            newest=max((holding.newest for holding in self.holdings if holding.newest is not None), default=None),
            worth_usd=sum((holding.worth_usd for holding in self.holdings), start=Decimal(0)),
        )


def take_stock(cache: Cache, price: Price) -> Inventory:
    """Look at every entry, one after the other.

    Args:
        cache: Of one tenant.
        price: What calls cost.

    Raises:
        RuntimeTaskError: The cache does not answer (XCS614).
    """
    origins = Origins(cache.recipes())
    priced = lru_cache(maxsize=100_000)(price)
    holdings: dict[Origin, Holding] = {}
    readable = 0
    for key, answer in cache.entries():
        readable += 1
        origin = origins.of(key, answer)
        if origin not in holdings:
            holdings[origin] = Holding(*origin)
        is_counted = answer.input_tokens is not None and answer.output_tokens is not None
        holdings[origin].add(answer, priced(origin.model, answer.input_tokens, answer.output_tokens, 0) if is_counted else None)
    unreadable = max(0, sum(1 for _ in cache.keys()) - readable)  # noqa: SIM118  # no dict
    return Inventory(
        tuple(sorted(holdings.values(), key=lambda holding: (-holding.entries, holding.operations, holding.model))), unreadable
    )


class Origins:
    """Tells where an entry comes from.

    Args:
        recipes: How operations ask.
    """

    def __init__(self, recipes: Iterable[Recipe]) -> None:
        self._operations: dict[str, set[str]] = defaultdict(set)
        self._models: dict[str, str] = {}
        for recipe in recipes:
            self._operations[recipe.digest].add(recipe.operation)
            self._models[recipe.digest] = f"{recipe.fields.get('provider')}/{recipe.fields.get('model')}"

    def of(self, key: str, answer: CachedAnswer) -> Origin:
        """Where an entry comes from."""
        _, digest = halves(key)
        return Origin(tuple(sorted(self._operations.get(digest, ()))), self._models.get(digest) or answer.model or "")

    @property
    def operations(self) -> set[str]:
        """All that are known."""
        return {operation for operations in self._operations.values() for operation in operations}

    @property
    def models(self) -> set[str]:
        """All that are known."""
        return set(self._models.values())


@dataclass(frozen=True, slots=True)
class Choice:
    """Which entries are meant; all of what is given must be true of one.

    Attributes:
        before: It came before this moment, in seconds since 1970.
        operation: This operation asks so, perhaps together with others.
        model: This model answered, with its provider.
    """

    before: float | None = None
    operation: str | None = None
    model: str | None = None

    def includes(self, origin: Origin, answer: CachedAnswer) -> bool:
        """Whether an entry is meant."""
        return (
            (self.before is None or answer.created_at < self.before)
            and (self.operation is None or self.operation in origin.operations)
            and (self.model is None or self.model == origin.model)
        )


@dataclass(slots=True)
class Purged:
    """What was removed.

    Attributes:
        entries: How many answers.
        by_origin: How many of each.
    """

    entries: int = 0
    by_origin: Counter[Origin] = field(default_factory=Counter)


def purge(cache: Cache, choice: Choice | None, *, is_dry: bool = False) -> Purged:
    """Forget the answers that are meant.

    Args:
        cache: Of one tenant.
        choice: Which; None means all, also those that cannot be read.
        is_dry: Whether they are only counted.

    Raises:
        RuntimeTaskError: The cache does not answer (XCS614).
    """
    purged = Purged()
    remove: Callable[[list[str]], int] = len if is_dry else cache.remove
    keys = cache.keys() if choice is None else _meant(cache, choice, purged)
    while chunk := list(islice(keys, _AT_A_TIME)):
        purged.entries += remove(chunk)
    return purged


def _meant(cache: Cache, choice: Choice, purged: Purged) -> Iterator[str]:
    origins = Origins(cache.recipes())
    for key, answer in cache.entries():
        origin = origins.of(key, answer)
        if choice.includes(origin, answer):
            purged.by_origin[origin] += 1
            yield key
