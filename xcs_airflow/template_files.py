"""Finds the text templates: inside an installed wheel, or beside the package in a checkout; it does not know what they say."""

from __future__ import annotations

from pathlib import Path


def template_folder(name: str) -> Path:
    """The folder of one kind of templates.

    Args:
        name: `airflow`, `docker` or `starters`.
    """
    package = Path(__file__).parent
    installed = package / "templates" / name
    return installed if installed.is_dir() else package.parent / "templates" / name
