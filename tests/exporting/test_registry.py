"""Exporters are found by entry point and loaded when they are asked for."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints

import pytest

from xcs_airflow.errors import ExportError
from xcs_airflow.exporting import registry


@pytest.fixture(autouse=True)
def entry_points(monkeypatch):
    group = registry.GROUP
    points = EntryPoints([EntryPoint("good", "builtins:dict", group), EntryPoint("bad", "no_such_module_here:Exporter", group)])
    monkeypatch.setattr(registry, "entry_points", lambda group: points.select(group=group))


def test_names_are_sorted_and_nothing_is_loaded_for_them():
    assert registry.exporter_names() == ["bad", "good"]


def test_an_exporter_is_made_when_it_is_asked_for():
    assert registry.load_exporter("good") == {}


def test_an_unknown_name_gets_a_suggestion():
    with pytest.raises(ExportError, match="XCS501") as caught:
        registry.load_exporter("goood")
    assert caught.value.findings[0].hint == "did you mean 'good'?"


def test_a_module_that_does_not_load_is_a_finding():
    with pytest.raises(ExportError, match="XCS509"):
        registry.load_exporter("bad")
