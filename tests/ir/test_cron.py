"""Cron expressions: one reader for the whole project."""

import re

import pytest

from xcs_airflow.ir import Graph, Operation, ParameterSpec, PipelinePolicy, verify
from xcs_airflow.ir.cron import CronError, is_timezone, parse_cron


@pytest.mark.parametrize(
    "schedule",
    ["0 6 * * *", "*/5 * * * *", "0 0 1,15 * MON-FRI", "30 4 1 jan,jul *", "0  6\t* * 7", "5-55/10 * 29 2 *", "0 0 31 2 1"],
)
def test_five_fields_are_read(schedule):
    assert parse_cron(schedule).minutes


def test_a_schedule_stands_for_sorted_numbers():
    cron = parse_cron("*/20 9-17/4 1,15 jan,Dec 5-7")
    assert (cron.minutes, cron.hours, cron.days, cron.months) == ((0, 20, 40), (9, 13, 17), (1, 15), (1, 12))
    assert (cron.weekdays, cron.names_days, cron.names_weekdays) == ((0, 5, 6), True, True)


@pytest.mark.parametrize(
    ("schedule", "reason"),
    [
        ("@daily", "1 fields"),
        ("0 0 * * * 2026", "6 fields"),
        ("", "0 fields"),
        ("60 * * * *", "'60' is no minute between 0 and 59"),
        ("* 24 * * *", "'24' is no hour"),
        ("* * 0 * *", "'0' is no day of the month"),
        ("* * * 13 *", "'13' is no month"),
        ("* * * foo *", "'foo' is no month"),
        ("* * * * 8", "'8' is no day of the week"),
        ("5-2 * * * *", "'5-2' is no minute"),
        ("*/0 * * * *", "not positive"),
        ("5/20 * * * *", "a step but no range"),
        ("0 0 L * *", "'L' is no day of the month"),
        ("0 0 * * 5#2", "'5#2' is no day of the week"),
        ("-5 * * * *", "'-5' is no minute"),
        ("1- * * * *", "'1-' is no minute"),
        ("0,,5 6 * * *", "'' is no minute"),
        ("\N{ARABIC-INDIC DIGIT ONE} * * * *", "is no minute"),
        ("jan * * * *", "'jan' is no minute"),
        ("0 0 31 2,4 *", "its day never comes"),
    ],
)
def test_what_is_no_schedule_is_refused(schedule, reason):
    with pytest.raises(CronError, match=re.escape(reason)):
        parse_cron(schedule)


def test_a_step_without_a_range_says_what_to_write():
    with pytest.raises(CronError) as caught:
        parse_cron("5/20 * * * *")
    assert caught.value.instead == "write 5-59/20"


@pytest.mark.parametrize(
    ("name", "exists"), [("UTC", True), ("Europe/Berlin", True), ("Europe/Atlantis", False), ("", False), ("../etc", False)]
)
def test_time_zones_are_looked_up(name, exists):
    assert is_timezone(name) == exists


def test_a_graph_reports_schedule_time_zone_and_parameters_at_once():
    policy = PipelinePolicy(schedule="daily", timezone="Mars/Base")
    graph = Graph([Operation(id="a", func="m:f")], policy=policy, parameters=[ParameterSpec(name="path")])
    assert [finding.code for finding in verify(graph)] == ["XCS214", "XCS215", "XCS216"]
