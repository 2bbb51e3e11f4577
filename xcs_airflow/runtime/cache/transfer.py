"""A cache as JSON Lines, to keep or to take elsewhere: first how it was asked, then the answers with their checksums.

It knows lines; it does not know files. Texts are plain, also those of a cache that is encrypted.

    {"xcs_cache": 1}
    {"recipe": ["91ab…", "classify", {"model": "gpt-4.1-mini", …}]}
    {"key": "4f0c…", "entry": ["0c3d…", ["billing", 120, 3, "gpt-4.1-mini", 1790000000, ""]]}
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from xcs_airflow.errors import RuntimeTaskError
from xcs_airflow.runtime.cache.entry import Cache, CachedAnswer, Recipe

FORMAT = 1
_AT_A_TIME = 500
_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(slots=True)
class Imported:
    """What became of the lines of an export.

    Attributes:
        added: Answers that were not there.
        replaced: Answers that were there, and older.
        kept: Answers that were there, and as new or newer: they stayed.
        damaged: Lines that do not have their checksum, or are nothing that is exported.
        recipes: How operations ask.
    """

    added: int = 0
    replaced: int = 0
    kept: int = 0
    damaged: int = 0
    recipes: int = 0


def exported(cache: Cache) -> Iterator[str]:
    """The lines, without their ends; damaged entries are left out.

    Raises:
        RuntimeTaskError: The cache does not answer (XCS614).
    """
    yield json.dumps({"xcs_cache": FORMAT})
    for recipe in cache.recipes():
        yield f'{{"recipe": {recipe.dump()}}}'
    for key, answer in cache.entries():
        yield f'{{"key": {json.dumps(key)}, "entry": {answer.dump(key)}}}'


def import_lines(cache: Cache, lines: Iterable[str], name: str) -> Imported:
    """Take lines in. Answers that are there already and not older stay as they are.

    Args:
        cache: Where to.
        lines: As they were exported.
        name: Where they come from, for messages.

    Raises:
        RuntimeTaskError: They are no export of a cache, or of a newer version (XCS622), or the cache does not answer (XCS614).
    """
    remaining = iter(lines)
    first = _read(next(remaining, ""))
    if first.get("xcs_cache") != FORMAT:
        reason = f"it is of version {first['xcs_cache']!r}" if "xcs_cache" in first else "its first line does not say that it is one"
        raise RuntimeTaskError.because("XCS622", name=name, reason=reason)
    imported = Imported()
    while chunk := list(islice(remaining, _AT_A_TIME)):
        answers: dict[str, CachedAnswer] = {}
        for line in chunk:
            if not line.strip():
                continue
            record = _read(line)
            if "recipe" in record:
                _note(cache, record["recipe"], imported)
            else:
                _collect(record, answers, imported)
        _put(cache, answers, imported)
    return imported


def _note(cache: Cache, written: Any, imported: Imported) -> None:
    recipe = Recipe.load(json.dumps(written))
    if recipe is None:
        imported.damaged += 1
    else:
        cache.note_recipe(recipe)
        imported.recipes += 1


def _collect(record: dict[str, Any], answers: dict[str, CachedAnswer], imported: Imported) -> None:
    key = record.get("key")
    entry = record.get("entry")
    if not isinstance(key, str) or not _KEY.fullmatch(key) or not isinstance(entry, list) or not entry:
        imported.damaged += 1
        return
    # Written again as it was written first, so that what was merely laid out anew is still whole.
    written = f'["{entry[0]}",{json.dumps(entry[1] if len(entry) > 1 else None)}]'
    answer = CachedAnswer.load(key, written)
    if answer is None or answer.seal:
        imported.damaged += 1
    elif key not in answers or answers[key].created_at < answer.created_at:
        answers[key] = answer


def _put(cache: Cache, answers: dict[str, CachedAnswer], imported: Imported) -> None:
    known = cache.get_many(answers)
    newer = {key: answer for key, answer in answers.items() if key not in known or known[key].created_at < answer.created_at}
    if newer:
        cache.put_many(newer)
    imported.replaced += len(newer.keys() & known.keys())
    imported.added += len(newer.keys() - known.keys())
    imported.kept += len(answers) - len(newer)


def _read(line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}
