"""What decorators are told."""

from __future__ import annotations

from decimal import Decimal

import pytest

from xcs_airflow.authoring.settings import cron, dollars, retry, seconds, timezone, whole_seconds
from xcs_airflow.ir import Retry


@pytest.mark.parametrize(
    ("text", "amount"), [("5 USD", "5"), ("5", "5"), ("0.25USD", "0.25"), (3, "3"), (0.1, "0.1"), (Decimal("1.5"), "1.5")]
)
def test_amounts_are_exact(text, amount):
    assert Decimal(amount) == dollars(text)


@pytest.mark.parametrize("text", ["5 EUR", "five", "", "-1 USD", "NaN", "Infinity", "1e", True])
def test_what_is_no_amount_in_dollars_is_refused(text):
    with pytest.raises(ValueError, match="amount"):
        dollars(text)


@pytest.mark.parametrize(
    ("text", "span"), [("2h", 7200), ("90m", 5400), ("30s", 30), ("1d12h", 129_600), ("1h 30m", 5400), (45, 45), (0.5, 0.5), ("0d1s", 1)]
)
def test_spans_of_time_are_seconds(text, span):
    assert span == seconds(text)


@pytest.mark.parametrize("text", ["", "2", "h", "2x", "1m1h", "-1s", "0s", 0, -3, float("inf"), float("nan"), True, None, "1.5h"])
def test_what_is_no_span_of_time_is_refused(text):
    with pytest.raises(ValueError, match="it is"):
        seconds(text)


def test_a_timeout_is_rounded_up():
    assert whole_seconds(0.2) == 1


@pytest.mark.parametrize(
    "text",
    ["0 6 * * *", "*/15 0-23/2 1,15 * MON-FRI", "59 23 31 12 7", "0 0 1 jan sun", "  0   6 * * *  ", "0-59/5 * * * 0"],
)
def test_five_fields_of_cron_are_a_schedule(text):
    assert " ".join(text.split()) == cron(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0 6 * *", "it has 4 fields"),
        ("@daily", "it has 1 fields"),
        ("60 6 * * *", "'60' is no minute between 0 and 59"),
        ("0 24 * * *", "'24' is no hour between 0 and 23"),
        ("0 0 0 * *", "'0' is no day of the month between 1 and 31"),
        ("0 0 1 13 *", "'13' is no month between 1 and 12"),
        ("0 0 1 * 8", "'8' is no day of the week between 0 and 7"),
        ("0 0 1 * MONDAY", "'MONDAY' is no day of the week"),
        ("5-1 0 * * *", "'5-1' is no minute between 0 and 59"),
        ("*/0 0 * * *", "the step of '*/0' is not positive"),
        ("1,,2 0 * * *", "'' is no minute"),
    ],
)
def test_what_is_no_schedule_says_which_field_is_wrong(text, reason):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the text is compared below
        cron(text)
    assert reason == str(caught.value)


def test_time_zones_are_known_by_name():
    assert timezone("Europe/Berlin") == "Europe/Berlin"


@pytest.mark.parametrize("name", ["Mars/Olympus", "../etc/passwd", "/etc/passwd", ""])
def test_unknown_time_zones_are_refused(name):
    with pytest.raises(ValueError, match="no such time zone"):
        timezone(name)


def test_retries_count_what_comes_after_the_first_start():
    assert Retry(attempts=3) == retry(2)
    assert Retry(attempts=1) == retry(0)
    assert Retry(attempts=5, delay_s=1) == retry(Retry(attempts=5, delay_s=1))


@pytest.mark.parametrize("value", [-1, "2", True, 1.5])
def test_what_is_no_number_of_retries_is_refused(value):
    with pytest.raises(ValueError, match="retries"):
        retry(value)
