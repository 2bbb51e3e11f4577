"""Modules written to disk, loaded as a user's would be."""

from __future__ import annotations

import textwrap

import pytest

from xcs_airflow.authoring import load_pipeline


@pytest.fixture
def write(tmp_path):
    """Writes a file below the test's folder and returns its path."""

    def write_file(path: str, text: str = ""):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text), encoding="utf-8")
        return file

    return write_file


@pytest.fixture
def load(write):
    """Loads the pipeline of a module given as text; `llm`, `op` and `pipeline` are imported already."""

    def load_text(text: str, path: str = "flow.py", function: str | None = None):
        head = "from xcs_airflow import each, llm, op, pipeline, whole\n"
        file = write(path, head + textwrap.dedent(text))
        return load_pipeline(f"{file}:{function}" if function else str(file))

    return load_text


@pytest.fixture
def graph_of(load):
    """The graph of a pipeline given as the text of its module."""
    return lambda text, **how: load(text, **how).graph()
