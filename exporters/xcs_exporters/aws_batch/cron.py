"""Five-field cron expressions in the words of EventBridge Scheduler, which counts days from Sunday = 1 and wants a `?`.

It knows both notations; it does not know pipelines. Sources: crontab(5) and
https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
"""

from __future__ import annotations

from collections.abc import Sequence

from xcs_airflow.ir.cron import MONTHS, WEEKDAYS, CronError, parse_cron

_SHORTEST_PROGRESSION = 3


def scheduler_expression(schedule: str) -> str:
    """The `cron(...)` expression that fires at the same times.

    Args:
        schedule: Minute, hour, day of the month, month and day of the week, as in crontab(5).

    Raises:
        CronError: It is not such an expression, or it restricts both kinds of day, which cron reads as either and Scheduler
            cannot say.
    """
    cron = parse_cron(schedule)
    if cron.names_days and cron.names_weekdays:
        raise CronError(
            "it names days of the month and days of the week, which means either of them",
            "export two pipelines, one with each kind of day",
        )
    is_any_weekday = len(cron.weekdays) == len(WEEKDAYS)
    day_part = _written(cron.days, 1, 31) if is_any_weekday else "?"
    weekday_part = "?" if is_any_weekday else _named(cron.weekdays, WEEKDAYS)
    months = _written(cron.months, 1, len(MONTHS))
    return f"cron({_written(cron.minutes, 0, 59)} {_written(cron.hours, 0, 23)} {day_part} {months} {weekday_part} *)"


def _written(values: Sequence[int], low: int, high: int) -> str:
    """Numbers as Scheduler reads them: all, every so many from the first on, or one by one and in ranges."""
    if len(values) == high - low + 1:
        return "*"
    step = values[1] - values[0] if len(values) >= _SHORTEST_PROGRESSION else 1
    if step > 1 and tuple(values) == tuple(range(low, high + 1, step)):
        return f"{low}/{step}"
    return ",".join(f"{first}-{last}" if last > first else str(first) for first, last in _runs(values))


def _named(values: Sequence[int], names: Sequence[str]) -> str:
    return ",".join(f"{names[first]}-{names[last]}" if last > first else names[first] for first, last in _runs(values))


def _runs(values: Sequence[int]) -> list[tuple[int, int]]:
    """First and last of every run of neighbours."""
    runs: list[tuple[int, int]] = []
    for value in values:
        if runs and value == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], value)
        else:
            runs.append((value, value))
    return runs
