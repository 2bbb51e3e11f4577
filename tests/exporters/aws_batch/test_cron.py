import pytest

from xcs_airflow.ir.cron import CronError
from xcs_exporters.aws_batch.cron import scheduler_expression


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("0 6 * * *", "cron(0 6 * * ? *)"),
        ("* * * * *", "cron(* * * * ? *)"),
        ("*/15 * * * *", "cron(0/15 * * * ? *)"),
        ("1,2,3,7 0 * * *", "cron(1-3,7 0 * * ? *)"),
        ("0 9-17/2 * * 1-5", "cron(0 9,11,13,15,17 ? * MON-FRI *)"),
        ("0 0 1 */3 *", "cron(0 0 1 1/3 ? *)"),
        ("0 0 1 jan,Dec *", "cron(0 0 1 1,12 ? *)"),
        ("0 0 */2 * *", "cron(0 0 1/2 * ? *)"),
        ("0 0 31 12 *", "cron(0 0 31 12 ? *)"),
        ("  0   0 *  * * ", "cron(0 0 * * ? *)"),
    ],
)
def test_cron_becomes_the_notation_of_scheduler(cron, expected):
    assert scheduler_expression(cron) == expected


@pytest.mark.parametrize(
    ("weekdays", "expected"),
    [
        ("0", "SUN"),
        ("7", "SUN"),
        ("6", "SAT"),
        ("1-5", "MON-FRI"),
        ("5-7", "SUN,FRI-SAT"),
        ("sun,sat", "SUN,SAT"),
        ("MON-FRI", "MON-FRI"),
        ("*/2", "SUN,TUE,THU,SAT"),
    ],
)
def test_weekdays_are_written_as_names_because_the_numbers_differ(weekdays, expected):
    assert scheduler_expression(f"0 0 * * {weekdays}") == f"cron(0 0 ? * {expected} *)"


@pytest.mark.parametrize("weekdays", ["*", "0-6", "1-7", "0-7"])
def test_all_weekdays_are_none_in_particular(weekdays):
    assert scheduler_expression(f"0 0 * * {weekdays}") == "cron(0 0 * * ? *)"


@pytest.mark.parametrize("schedule", ["0 0 1 * 1", "0 0 */2 * 1", "0 0 1-31 * MON"])
def test_both_kinds_of_day_cannot_be_said(schedule):
    with pytest.raises(CronError, match="either of them"):
        scheduler_expression(schedule)
