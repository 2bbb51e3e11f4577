"""Answers as single objects in a store, for machines that share nothing else.

It knows names and what lies under them; `object_place.py` knows the store, `object_claims.py` who asks for what.

    TENANT/answers/4/4f0c….json       an answer, named by its key
    TENANT/recipes/91ab….STEP.json    how an operation asks
    TENANT/claims/4/4f0c…             who asks for a key
    TENANT/owners/77e1….json          that who asks lives
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping

from xcs_airflow.runtime.cache.entry import CachedAnswer, Claims, Gate, Recipe
from xcs_airflow.runtime.cache.object_claims import PATIENCE, ObjectClaims, Patience
from xcs_airflow.runtime.cache.object_place import ObjectPlace, side_by_side
from xcs_airflow.runtime.results import segment
from xcs_airflow.runtime.store import Store

_FOLDERS = "0123456789abcdef"
_FOLDERS_AT_A_TIME = 4
_PAGE = 256
_SUFFIX = ".json"


class ObjectCache:
    """One object per answer of one tenant, named by its key, which consists of hexadecimal digits.

    There is no limit to its size: rules of the bucket may remove objects that are old.

    Args:
        store: Where the objects lie.
        tenant: Whose answers.
        place: The address, for messages.
        is_sealed: Whether texts are encrypted by whoever uses this.
        patience: How long claims of others are waited for.
    """

    is_remote = True

    def __init__(self, store: Store, tenant: str = "", *, place: str = "", is_sealed: bool = False, patience: Patience = PATIENCE) -> None:
        self._place = ObjectPlace(store, tenant)
        self._gate = Gate(place, is_sealed=is_sealed)
        self._patience = patience
        self._noted: set[tuple[str, str]] = set()

    def get_many(self, keys: Iterable[str], *, ttl_s: int | None = None) -> dict[str, CachedAnswer]:
        """The answers that are there, not older than asked, and undamaged."""
        now = time.time()
        wanted = list(dict.fromkeys(keys))
        answers = zip(wanted, side_by_side(self._get, wanted), strict=True)
        return {key: answer for key, answer in answers if answer is not None and answer.is_good(ttl_s, now)}

    def put_many(self, answers: Mapping[str, CachedAnswer]) -> None:
        """Remember answers, one object each."""
        side_by_side(lambda key: self._place.put(_name(key), answers[key].dump(key).encode()), answers)

    def claims(self) -> Claims:
        """Claims of whoever calls this, kept up by an object that changes."""
        return ObjectClaims(self._place, self._patience)

    def note_recipe(self, recipe: Recipe) -> None:
        """Remember how something was asked."""
        if recipe.name not in self._noted:
            self._place.create(f"recipes/{recipe.digest}.{segment(recipe.operation)}{_SUFFIX}", recipe.dump().encode())
            self._noted.add(recipe.name)

    def recipes(self) -> list[Recipe]:
        """Every recipe that was noted."""
        found = side_by_side(self._place.get, self._place.list("recipes"))
        recipes = (Recipe.load(data) for data in found if data is not None)
        return [recipe for recipe in recipes if recipe is not None]

    def keys(self, prefix: str = "") -> Iterator[str]:
        """The keys that begin so, in order, also of damaged entries; a part of the folders stands in memory at a time."""
        folders = prefix[:1] or _FOLDERS
        for start in range(0, len(folders), _FOLDERS_AT_A_TIME):
            for names in side_by_side(self._names, folders[start : start + _FOLDERS_AT_A_TIME]):
                yield from (key for key in names if key.startswith(prefix))

    def entries(self) -> Iterator[tuple[str, CachedAnswer]]:
        """All undamaged answers, in the order of their keys, a page at a time."""
        page: list[str] = []
        for key in self.keys():
            page.append(key)
            if len(page) == _PAGE:
                yield from self.get_many(page).items()
                page = []
        yield from self.get_many(page).items()

    def remove(self, keys: Iterable[str]) -> int:
        """Forget answers; gives how many there were. Each is looked for first: a store does not say what it removed."""
        return sum(side_by_side(self._remove, list(dict.fromkeys(keys))))

    def close(self) -> None:
        """Nothing to let go of."""

    def _get(self, key: str) -> CachedAnswer | None:
        data = self._place.get(_name(key))
        answer = None if data is None else CachedAnswer.load(key, data.decode("utf-8", "replace"))
        return answer if answer is not None and self._gate.admits(answer) else None

    def _remove(self, key: str) -> bool:
        if self._place.get(_name(key)) is None:
            return False
        self._place.delete(_name(key))
        return True

    def _names(self, folder: str) -> list[str]:
        names = (name.rpartition("/")[2] for name in self._place.list(f"answers/{folder}"))
        return [name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)]


def _name(key: str) -> str:
    return f"answers/{key[0]}/{key}{_SUFFIX}"
