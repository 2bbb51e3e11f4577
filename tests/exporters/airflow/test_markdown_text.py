import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xcs_exporters.airflow.markdown_text import markdown, plain


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A daily report.", "A daily report."),
        ("a_b *c* `d` [e](f) <g>", r"a\_b \*c\* \`d\` \[e\](f) \<g\>"),
        ("# not a title\n- not a list", r"\# not a title - not a list"),
        ("- not a list", r"\- not a list"),
        ("1. not a list", r"1\. not a list"),
        ("a | b", r"a \| b"),
        ("left \u202eright\u2028next\0end", "left right next end"),
        (1234567, "1,234,567"),
    ],
)
def test_text_reads_as_plain_words(text, expected):
    assert markdown(text) == expected


@settings(deadline=None)
@given(st.text(st.characters()))
def test_plain_text_is_one_line_that_utf8_can_hold(text):
    line = plain(text)
    assert len(line.splitlines()) <= 1
    assert line.encode().decode() == line
    assert "\0" not in line


def test_a_value_that_is_no_text_has_no_markdown_form():
    with pytest.raises(TypeError, match="no Markdown form"):
        markdown(["a"])
