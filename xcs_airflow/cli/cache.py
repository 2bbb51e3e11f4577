"""`xcs cache`: what is remembered, why something is not, and taking it out, away and in."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click

from xcs_airflow.cli.cache_why import why_miss
from xcs_airflow.cli.console import Command, Group, format_option, prices_option, say, show, show_json
from xcs_airflow.errors import ConfigError

if TYPE_CHECKING:
    from xcs_airflow.runtime.cache import Cache
    from xcs_airflow.runtime.settings import RuntimeSettings

_AGE = re.compile(r"(\d+)\s*([smhdw])", re.IGNORECASE)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}

_F = TypeVar("_F", bound=Callable[..., Any])


@click.group(
    "cache",
    cls=Group,
    examples=(
        "xcs cache stats                                  what is remembered, for whom",
        "xcs cache why-miss pipeline.py:triage classify   why it would be asked again",
        "xcs cache purge --older-than 30d --dry-run       what would go",
    ),
)
def cache() -> None:
    """Look into the response cache, and take answers out, away and in.

    Only the answers of one tenant are seen and touched, that of XCS_TENANT. An encrypted cache needs XCS_CACHE_KEY_ENV, as in a run.
    """


def place_options(function: _F) -> _F:
    """The options that say where the cache is."""
    store = click.option("--store", metavar="PLACE", help="Folder or address of results; the cache lies beside it.  [env: XCS_STORE]")
    place = click.option("--cache", "place", metavar="PLACE", help="Where answers are.  [default: beside the store; env: XCS_CACHE]")
    return place(store(function))


@cache.command("stats", cls=Command, examples=("xcs cache stats", "xcs cache stats --cache redis://cache.internal:6379/0 --format json"))
@place_options
@prices_option
@format_option
def stats(place: str | None, store: str | None, prices: str | None, format: str) -> None:  # noqa: A002  # the option's name
    """Say what is remembered: by operation and model, how much, how old, and what asking for it again would cost."""
    from xcs_airflow.cli.cache_tables import print_inventory  # noqa: PLC0415
    from xcs_airflow.runtime.cache.inventory import take_stock  # noqa: PLC0415
    from xcs_airflow.runtime.pricing import price_of  # noqa: PLC0415

    settings = _settings(place, store, prices)
    inventory = take_stock(_opened(settings), price_of(settings.prices))
    address = _shown(settings)
    if format == "json":
        total = inventory.total.to_dict()
        whole = {name: total[name] for name in total if name not in ("operations", "model")}
        holdings = [holding.to_dict() for holding in inventory.holdings]
        facts = {"cache": address, "tenant": settings.tenant, "unreadable": inventory.unreadable}
        show_json({**facts, "total": whole, "holdings": holdings})
    else:
        show(print_inventory(inventory, address, settings.tenant, time.time()))


@cache.command(
    "purge",
    cls=Command,
    examples=("xcs cache purge --older-than 30d --dry-run", "xcs cache purge --operation classify", "xcs cache purge --all"),
)
@place_options
@click.option("--older-than", metavar="AGE", help="Answers that came so long ago: 90m, 12h, 30d, 8w.")
@click.option("--operation", metavar="NAME", help="Answers to what this operation asks.")
@click.option("--model", metavar="NAME", help="Answers of this model, as `xcs cache stats` names it.")
@click.option("--all", "is_all", is_flag=True, help="All answers of the tenant, also those that cannot be read.")
@click.option("--dry-run", "is_dry", is_flag=True, help="Only say what would be removed.")
@format_option
def purge(  # noqa: PLR0913  # one for each option
    place: str | None,
    store: str | None,
    *,
    older_than: str | None,
    operation: str | None,
    model: str | None,
    is_all: bool,
    is_dry: bool,
    format: str,  # noqa: A002  # the option's name
) -> None:
    """Remove answers for good, without asking back. Of several conditions, all must be true.

    Operations that ask the same model in the same way share a recipe, and only the prompts tell their answers apart: `--operation`
    removes those of all who share it, and says whose they were.
    """
    from xcs_airflow.cli.cache_tables import print_purged  # noqa: PLC0415
    from xcs_airflow.runtime.cache import inventory  # noqa: PLC0415

    is_chosen = any(given is not None for given in (older_than, operation, model))
    if is_all == is_chosen:
        raise ConfigError.because("XCS805", name="--all", reason="give either conditions or --all")
    settings = _settings(place, store)
    opened = _opened(settings)
    choice = None
    if not is_all:
        before = None if older_than is None else time.time() - _seconds(older_than)
        choice = inventory.Choice(before, operation, model)
        known = inventory.Origins(opened.recipes())
        for name, given, names in (("--operation", operation, known.operations), ("--model", model, known.models)):
            if given is not None and given not in names:
                raise ConfigError.because("XCS805", name=name, reason=f"nothing is remembered for {given!r}", known=names)
    purged = inventory.purge(opened, choice, is_dry=is_dry)
    if format == "json":
        origins = [
            {"operations": list(origin.operations), "model": origin.model, "entries": count} for origin, count in purged.by_origin.items()
        ]
        show_json({"cache": _shown(settings), "is_dry_run": is_dry, "entries": purged.entries, "origins": origins})
    else:
        show(print_purged(purged, is_dry=is_dry))


@cache.command("export", cls=Command, examples=("xcs cache export answers.jsonl", "xcs cache export - | gzip > answers.jsonl.gz"))
@click.argument("file", type=click.Path())
@place_options
@format_option
def export(file: str, place: str | None, store: str | None, format: str) -> None:  # noqa: A002  # the option's name
    """Write all answers into a file of JSON Lines, or to stdout for `-`.

    Texts are plain in it, also those of an encrypted cache. The file is for its owner alone.
    """
    from xcs_airflow.runtime.cache.transfer import exported  # noqa: PLC0415

    settings = _settings(place, store)
    entries = 0
    with _written(file) as stream:
        for line in exported(_opened(settings)):
            stream.write(f"{line}\n")
            entries += line.startswith('{"key"')
    if format == "json" and file != "-":
        show_json({"cache": _shown(settings), "file": file, "entries": entries})
    else:
        say(f"{entries:,} answers written")


@cache.command(
    "import", cls=Command, examples=("xcs cache import answers.jsonl", "xcs cache import answers.jsonl --cache s3://bucket/cache")
)
@click.argument("file", type=click.Path())
@place_options
@format_option
def import_(file: str, place: str | None, store: str | None, format: str) -> None:  # noqa: A002  # the option's name
    """Take in the answers of an export, or of stdin for `-`.

    Damaged lines are left out, and an answer that is already there and not older stays. Names of answers hold the tenant, so those
    of another tenant are taken in and never found.
    """
    from dataclasses import asdict  # noqa: PLC0415

    from xcs_airflow.runtime.cache.transfer import import_lines  # noqa: PLC0415

    settings = _settings(place, store)
    opened = _opened(settings, is_new=True)
    with _read(file) as stream:
        imported = import_lines(opened, stream, file)
    if format == "json":
        show_json({"cache": _shown(settings), "file": file, **asdict(imported)})
    else:
        show(
            f"{imported.added:,} answers added, {imported.replaced:,} replaced by newer ones, "
            f"{imported.kept:,} were there already, {imported.damaged:,} lines damaged"
        )


cache.add_command(why_miss, "why-miss")


def _settings(place: str | None, store: str | None, prices: str | None = None) -> RuntimeSettings:
    from xcs_airflow.runtime.settings import RuntimeSettings  # noqa: PLC0415

    return RuntimeSettings.from_environment(dict(os.environ), cache=place, store=store, prices=prices)


def _opened(settings: RuntimeSettings, *, is_new: bool = False) -> Cache:
    """The cache. Unless it may be a new one, it is there already, as far as one can see: looking for something makes nothing."""
    from xcs_airflow.runtime.caches import shared_cache  # noqa: PLC0415

    address = settings.cache_address
    if address in ("memory", "off"):
        raise ConfigError.because("XCS805", name="--cache", reason=f"nothing outlives a process in {address!r}")
    scheme, _, path = address.partition("://")
    if not is_new and (path := path[1:] if scheme == "sqlite" else path) and scheme in ("sqlite", "file") and not Path(path).exists():
        raise ConfigError.because("XCS805", name="--cache", reason=f"there is no cache {address}")
    return shared_cache(settings)


def _shown(settings: RuntimeSettings) -> str:
    from xcs_airflow.runtime.cache.redis_place import without_password  # noqa: PLC0415

    return without_password(settings.cache_address)


def _seconds(age: str) -> int:
    match = _AGE.fullmatch(age.strip())
    if match is None:
        raise ConfigError.because(
            "XCS805", name="--older-than", reason=f"{age!r} is no age", nearest="write a number and a unit, as in 30d"
        )
    return int(match[1]) * _SECONDS[match[2].lower()]


@contextmanager
def _written(file: str) -> Iterator[IO[str]]:
    """A file for its owner alone, which is there only when it is whole."""
    if file == "-":
        yield sys.stdout
        return
    partial = Path(f"{file}.partial")
    try:
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as stream:  # noqa: PTH123
            yield stream
        partial.replace(file)
    except OSError as error:
        raise ConfigError.because("XCS805", name="FILE", reason=f"{file}: {error.strerror or error}") from None
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _read(file: str) -> Iterator[IO[str]]:
    if file == "-":
        yield sys.stdin
        return
    try:
        with Path(file).open(encoding="utf-8", errors="replace") as stream:
            yield stream
    except OSError as error:
        raise ConfigError.because("XCS805", name="FILE", reason=f"{file}: {error.strerror or error}") from None
