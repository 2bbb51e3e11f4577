"""A cache whose texts only those can read who have the key, around a cache of any kind.

It knows what is encrypted and what it belongs to; `sealing.py` knows keys. Names of entries, tokens, models and times stay readable.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping

from xcs_airflow.runtime.cache.entry import Cache, CachedAnswer, Claims, Gate, Recipe
from xcs_airflow.runtime.cache.sealing import Keyring


class SealedCache:
    """Encrypts what goes in and decrypts what comes out. What it cannot read is a miss.

    A text belongs to its entry: under another name, with other tokens or another time it cannot be read.

    Args:
        inner: Where entries lie; it gives out encrypted ones only.
        keyring: The keys.
        place: The address, for messages.
    """

    def __init__(self, inner: Cache, keyring: Keyring, place: str = "") -> None:
        self._inner = inner
        self._keyring = keyring
        self._gate = Gate(place, is_sealed=True)
        self._noted: set[tuple[str, str]] = set()
        self.is_remote = inner.is_remote

    def get_many(self, keys: Iterable[str], *, ttl_s: int | None = None) -> dict[str, CachedAnswer]:
        """The answers that are there, not older than asked, undamaged and authentic."""
        return dict(self._opened(self._inner.get_many(keys, ttl_s=ttl_s).items()))

    def put_many(self, answers: Mapping[str, CachedAnswer]) -> None:
        """Encrypt answers and remember them."""
        seal = self._keyring.seal
        self._inner.put_many(
            {
                key: answer._replace(text=self._keyring.encrypt(answer.text, _belongings(key, answer)), seal=seal)
                for key, answer in answers.items()
            }
        )

    def claims(self) -> Claims:
        """Claims of whoever calls this."""
        return self._inner.claims()

    def note_recipe(self, recipe: Recipe) -> None:
        """Remember how something was asked, encrypted as well: an output schema may say much about a prompt."""
        if recipe.name in self._noted:
            return
        name = f"{recipe.digest}.{self._keyring.seal}"
        fields = {"sealed": self._keyring.encrypt(json.dumps(recipe.fields), name)}
        self._inner.note_recipe(Recipe(name, recipe.operation, fields))
        self._noted.add(recipe.name)

    def recipes(self) -> list[Recipe]:
        """Every recipe that was noted and can be read, each once."""
        found: dict[tuple[str, str], Recipe] = {}
        for sealed in self._inner.recipes():
            digest, _, seal = sealed.digest.partition(".")
            try:
                fields = json.loads(self._keyring.decrypt(sealed.fields["sealed"], seal, sealed.digest))
            except (KeyError, ValueError, TypeError):
                continue
            recipe = Recipe(digest, sealed.operation, fields)
            found[recipe.name] = recipe
        return [found[name] for name in sorted(found)]

    def keys(self, prefix: str = "") -> Iterator[str]:
        """The keys that begin so, in order, also of what cannot be read."""
        return self._inner.keys(prefix)

    def entries(self) -> Iterator[tuple[str, CachedAnswer]]:
        """All answers that can be read, in the order of their keys."""
        return self._opened(self._inner.entries())

    def remove(self, keys: Iterable[str]) -> int:
        """Forget answers; gives how many there were."""
        return self._inner.remove(keys)

    def close(self) -> None:
        """Let go of files and connections."""
        self._inner.close()

    def _opened(self, sealed: Iterable[tuple[str, CachedAnswer]]) -> Iterator[tuple[str, CachedAnswer]]:
        for key, answer in sealed:
            try:
                text = self._keyring.decrypt(answer.text, answer.seal, _belongings(key, answer))
            except KeyError:
                self._gate.warn(f"they are encrypted with the key {answer.seal}, which is not among those given")
            except ValueError:
                self._gate.warn("they are not authentic: damaged, moved or changed by somebody without the key")
            else:
                yield key, answer._replace(text=text, seal="")


def _belongings(key: str, answer: CachedAnswer) -> str:
    return f"{key} {answer.input_tokens} {answer.output_tokens} {answer.created_at} {answer.model}"
