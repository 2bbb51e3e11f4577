import pytest
from jinja2 import UndefinedError

from xcs_exporters.airflow import holes
from xcs_exporters.airflow.holes import fill
from xcs_exporters.airflow.python_text import literal


@pytest.fixture
def templates(tmp_path, monkeypatch):
    monkeypatch.setattr(holes, "template_folder", lambda name: tmp_path / name)
    (tmp_path / "airflow").mkdir()

    def put(name, text):
        (tmp_path / "airflow" / name).write_text(text, encoding="utf-8")

    return put


def test_every_hole_has_the_given_form(templates):
    templates("t", "{{ a }} {{ 'constant' }} {{ a ~ 'b' }} {% for x in [a] %}{{ x }}{% endfor %} {% include 'u' %}\n")
    templates("u", "{{ a | upper }}")
    assert fill("t", literal, a='"') == "'\"' \"constant\" '\"b' '\"' '\"'"


@pytest.mark.parametrize("value", [object(), b"x", {1}])
def test_a_hole_without_a_form_is_an_error(templates, value):
    templates("t", "{{ a }}")
    with pytest.raises(TypeError, match="has no literal"):
        fill("t", literal, a=value)


@pytest.mark.parametrize("text", ["{{ a | safe }}", "{{ a | escape }}"])
def test_no_filter_gets_around_the_form(templates, text):
    templates("t", text)
    with pytest.raises(TypeError, match="Markup has no literal"):
        fill("t", literal, a="x")


def test_a_missing_value_is_an_error(templates):
    templates("t", "{{ b }}")
    with pytest.raises((UndefinedError, TypeError)):
        fill("t", literal, a="x")
