"""Findings read well, suggest the nearest name, and survive pickling."""

import pickle
import re
import string

import pytest

from xcs_airflow.errors import (
    CODES,
    ConfigError,
    ExportError,
    Finding,
    GraphError,
    ModelUnavailableError,
    UnsupportedError,
    XcsError,
    nearest,
)


def test_a_finding_shows_what_where_and_what_to_do():
    finding = Finding.of(
        "XCS203", operation="%report = r:run(x=%tikets)", place="triage.py:31", input="x", name="tikets", known=["tickets", "load"]
    )
    assert str(finding).splitlines() == [
        "error[XCS203]: the input 'x' reads 'tikets', which is not in the graph",
        "  in %report = r:run(x=%tikets)",
        "  from triage.py:31",
        "  hint: did you mean 'tickets'?",
    ]


def test_the_json_form_leaves_out_what_is_empty():
    assert Finding.of("XCS802").to_dict().keys() == {"code", "severity", "message", "hint"}


@pytest.mark.parametrize("code", CODES)
def test_every_code_formats_without_facts(code):
    finding = Finding.of(code)
    assert re.fullmatch(r"XCS[1-8]\d\d", code)
    assert finding.message


def test_format_strings_name_plain_facts_only():
    for code, row in CODES.items():
        for text in (row.message, row.hint):
            for _, field, _, _ in string.Formatter().parse(text):
                assert field is None or field.isidentifier(), (code, field)


def test_hostile_facts_are_put_in_and_never_formatted_again():
    finding = Finding.of("XCS203", input="{name} {0.__class__}", name="{{ conn.x }}", known=[])
    assert "{name} {0.__class__}" in finding.message
    assert "{{ conn.x }}" in finding.message


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("tikets", ["tickets", "load"], "did you mean 'tickets'?"),
        ("zzz", ["b", "a"], "known: a, b"),
        ("zzz", [f"n{i}" for i in range(10)], "known: n0, n1, n2, n3, n4, n5, n6, n7 and 2 more"),
        ("zzz", [], "there are none"),
    ],
)
def test_the_nearest_name_is_suggested(name, known, expected):
    assert nearest(name, known) == expected


def test_an_error_carries_every_finding_errors_first():
    warning = Finding.of("XCS405", severity="warning")
    error = Finding.of("XCS401")
    assert GraphError([warning, error]).findings == (error, warning)


def test_errors_survive_pickling():
    error = ConfigError.because("XCS802")
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), copy.findings) == (ConfigError, error.findings)


def test_the_tree_lets_callers_choose_how_much_to_catch():
    assert issubclass(UnsupportedError, ExportError)
    assert issubclass(ExportError, XcsError)
    assert ModelUnavailableError.retryable
