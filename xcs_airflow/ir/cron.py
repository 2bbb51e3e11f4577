"""Five-field cron expressions, as all platforms read them.

It knows the notation of crontab(5) and refuses what only some read or what can never come; it does not know any platform.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo, available_timezones

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class CronError(ValueError):
    """A text is no schedule; the message says why.

    Attributes:
        instead: What to write instead.
    """

    def __init__(
        self, reason: str, instead: str = "write minute, hour, day of the month, month and day of the week, as in '0 6 * * *'"
    ) -> None:
        super().__init__(reason)
        self.instead = instead


@dataclass(frozen=True)
class Cron:
    """What a schedule stands for.

    A schedule that names both days of the month and days of the week means either of them, as in crontab(5).

    Attributes:
        minutes: 0 to 59.
        hours: 0 to 23.
        days: Of the month, 1 to 31.
        months: 1 to 12.
        weekdays: 0 (Sunday) to 6.
        names_days: Whether days of the month were named, not `*`.
        names_weekdays: Whether days of the week were named, not `*`.
    """

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]
    names_days: bool
    names_weekdays: bool


def parse_cron(schedule: str) -> Cron:
    """Read a schedule: minute, hour, day of the month, month, day of the week.

    Raises:
        CronError: It is none.
    """
    texts = schedule.split()
    if len(texts) != len(_FIELDS):
        raise CronError(f"it has {len(texts)} fields")
    minutes, hours, days, months, weekdays = (part.values(text) for part, text in zip(_FIELDS, texts, strict=True))
    names_days, names_weekdays = texts[2] != "*", texts[4] != "*"
    if not names_weekdays and days[0] > max(_LONGEST[month - 1] for month in months):
        raise CronError("its day never comes", "name a day that one of its months has")
    return Cron(minutes, hours, days, months, tuple(sorted({day % 7 for day in weekdays})), names_days, names_weekdays)


def is_timezone(name: str) -> bool:
    """Whether a time zone has this name; every well-formed name passes where no time zones are installed."""
    try:
        ZoneInfo(name)
    except (OSError, KeyError, ValueError):
        return bool(name) and not available_timezones()
    return True


@dataclass(frozen=True)
class _Field:
    """One field of a cron expression.

    Attributes:
        name: For messages.
        low: Its smallest number.
        high: Its largest number.
        numbers: The number of every name it may be written with.
    """

    name: str
    low: int
    high: int
    numbers: Mapping[str, int] = field(default_factory=dict)

    def values(self, text: str) -> tuple[int, ...]:
        """Every number the text stands for, sorted."""
        found: set[int] = set()
        for part in text.split(","):
            span, slash, step_text = part.partition("/")
            step = self._number(step_text, part) if slash else 1
            if step < 1:
                raise CronError(f"the step of {part!r} is not positive")
            if slash and span != "*" and "-" not in span:
                raise CronError(f"{part!r} has a step but no range", f"write {span}-{self.high}/{step}")
            first, last = self._ends(span, part)
            found.update(range(first, last + 1, step))
        return tuple(sorted(found))

    def _ends(self, span: str, part: str) -> tuple[int, int]:
        if span == "*":
            return self.low, self.high
        first_text, dash, last_text = span.partition("-")
        first = self._number(first_text, part)
        last = self._number(last_text, part) if dash else first
        if not self.low <= first <= last <= self.high:
            raise CronError(f"{part!r} is no {self.name} between {self.low} and {self.high}")
        return first, last

    def _number(self, text: str, part: str) -> int:
        number = self.numbers.get(text.upper())
        if number is not None:
            return number
        if not (text.isascii() and text.isdigit()):
            raise CronError(f"{part!r} is no {self.name}")
        return int(text)


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, {name: number for number, name in enumerate(MONTHS, start=1)}),
    _Field("day of the week", 0, 7, {name: number for number, name in enumerate(WEEKDAYS)}),
)
