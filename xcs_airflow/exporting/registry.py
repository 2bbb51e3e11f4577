"""Finds exporters by their entry points: the built-in ones are plugins like a stranger's.

It knows names; it loads an exporter only when it is asked for.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

from xcs_airflow.errors import ExportError
from xcs_airflow.exporting.port import Exporter

GROUP = "xcs_airflow.exporters"


def exporter_names() -> list[str]:
    """The names that `--target` takes, sorted."""
    return sorted(_entry_points())


def load_exporter(name: str) -> Exporter:
    """The exporter of a name.

    Raises:
        ExportError: There is none, or its module does not load.
    """
    found = _entry_points()
    if name not in found:
        raise ExportError.because("XCS501", name=name, known=found)
    try:
        exporter: Exporter = found[name].load()()
    except ImportError as error:
        raise ExportError.because("XCS509", name=name, reason=str(error)) from error
    return exporter


def _entry_points() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}
