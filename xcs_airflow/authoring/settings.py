"""Reads the arguments of decorators: amounts of money, spans of time, schedules, retries.

It knows how people write them; it does not know what they are used for.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

from pydantic import ValidationError

from xcs_airflow.errors import Finding, TraceError, nearest
from xcs_airflow.ir.cron import is_timezone, parse_cron
from xcs_airflow.ir.operation import Retry

T = TypeVar("T")

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SPAN = re.compile(r"(?=\d)(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")

# What decorators call a field, where they call it differently.
_ARGUMENTS = {
    "estimated_input_tokens": "input_tokens",
    "estimated_output_tokens": "output_tokens",
    "estimated_latency_s": "latency_s",
    "estimated_cost_usd": "cost_usd",
}

_INSTEAD = {
    "budget": 'write "5 USD"',
    "deadline": 'write "2h", "90m", "1d12h", or seconds',
    "timeout": 'write "2h", "90m", "1d12h", or seconds',
    "schedule": 'write five fields: minute hour day month weekday, as in "0 6 * * *"',
    "timezone": 'write an IANA name, as in "Europe/Berlin"',
}


class SettingsReader:
    """Reads the arguments of one decorator and keeps every finding.

    Args:
        decorator: Its name, without the @.
        place: `file:line` of it.
    """

    def __init__(self, decorator: str, place: str | None) -> None:
        self._decorator = decorator
        self._place = place
        self._findings: list[Finding] = []

    def check_names(self, given: Mapping[str, Any], known: Iterable[str]) -> None:
        """Note the arguments that do not exist."""
        names = sorted(known)
        for name in sorted(set(given) - set(names)):
            self.refuse(name, given[name], "there is no such setting", nearest(name, names))

    def read(self, setting: str, value: Any, parse: Callable[[Any], T]) -> T | None:
        """One argument; None when it is None or wrong."""
        if value is None:
            return None
        try:
            return parse(value)
        except ValueError as error:
            self.refuse(setting, value, str(error))
            return None

    def refuse(self, setting: str, value: object, reason: str, instead: str | None = None) -> None:
        """Note that an argument is wrong."""
        self._findings.append(
            Finding.of(
                "XCS110",
                setting=setting,
                value=value,
                decorator=self._decorator,
                reason=reason,
                instead=_INSTEAD.get(setting, "") if instead is None else instead,
                place=self._place,
            )
        )

    def build(self, model: Callable[..., T], fields: Mapping[str, Any]) -> T:
        """A model of some fields.

        Raises:
            TraceError: An argument was wrong, now or before; carries every finding.
        """
        try:
            built = model(**fields)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                field = ".".join(map(str, detail["loc"])).removeprefix("resources.").removeprefix("metadata.")
                self.refuse(_ARGUMENTS.get(field, field), detail["input"], detail["msg"])
        self.check()
        return built

    def check(self) -> None:
        """Make sure that nothing was wrong.

        Raises:
            TraceError: Something was; carries every finding.
        """
        if self._findings:
            raise TraceError(self._findings)


def operation_fields(settings: Mapping[str, Any], reader: SettingsReader) -> dict[str, Any]:
    """The arguments that all kinds of steps share, as fields of an operation."""
    same = ("items", "distinct_items", "pure", "secrets", "env", "image", "description")
    fields = {name: settings[name] for name in same if settings.get(name) is not None}
    fields["resources"] = {name: settings[name] for name in ("cpu", "memory_mib", "gpu", "gpu_type") if settings.get(name) is not None}
    fields["retry"] = reader.read("retries", settings.get("retries"), retry) or Retry()
    fields["timeout_s"] = reader.read("timeout", settings.get("timeout"), whole_seconds)
    return fields


def dollars(value: object) -> Decimal:
    """An amount of US dollars: `"5 USD"`, `"5"` or a number.

    Raises:
        ValueError: It is none.
    """
    text = str(value).removesuffix("USD").strip()
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise ValueError("it is not an amount in USD") from None
    if not amount.is_finite() or amount < 0:
        raise ValueError("it is not an amount that can be spent")
    return amount


def seconds(value: object) -> float:
    """A span of time in seconds: `"2h"`, `"90m"`, `"30s"`, `"1d12h"` or a number of seconds.

    Raises:
        ValueError: It is none.
    """
    if isinstance(value, str):
        match = _SPAN.fullmatch(value.replace(" ", ""))
        if match is None:
            raise ValueError("it is not a span of time")
        span = float(sum(int(count or 0) * unit for count, unit in zip(match.groups(), reversed(_SECONDS.values()), strict=True)))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        span = float(value)
    else:
        raise ValueError("it is not a span of time")  # noqa: TRY004  # what every other wrong text raises
    if not math.isfinite(span) or span <= 0:
        raise ValueError("it is not longer than nothing")
    return span


def whole_seconds(value: object) -> int:
    """A span of time in seconds, rounded up; written as for `seconds`."""
    return math.ceil(seconds(value))


def retry(value: object) -> Retry:
    """How often to start again: a number of retries, or a `Retry`.

    Raises:
        ValueError: It is none.
    """
    if isinstance(value, Retry):
        return value
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("it is not a number of retries")
    return Retry(attempts=value + 1)


def cron(value: object) -> str:
    """A schedule as five fields of cron.

    Raises:
        ValueError: It is none.
    """
    parse_cron(str(value))
    return " ".join(str(value).split())


def timezone(value: object) -> str:
    """The name of a time zone.

    Raises:
        ValueError: There is none of that name.
    """
    if not is_timezone(str(value)):
        raise ValueError("there is no such time zone")
    return str(value)
