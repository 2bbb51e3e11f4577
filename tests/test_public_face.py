"""`import xcs_airflow`: what it offers, and what it does not load."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

import xcs_airflow

HEAVY = ["aiohttp", "airflow", "boto3", "genai_prices", "google", "httpx2", "jinja2", "pydantic", "rustworkx"]


def loaded_after(code: str, names: list[str]) -> list[str]:
    """The modules of some names that a fresh Python has loaded after some code."""
    script = f"import sys\n{code}\nprint(*sorted(set({names!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_importing_it_loads_nothing_heavy():
    assert loaded_after("import xcs_airflow", HEAVY) == []


def test_writing_a_pipeline_loads_no_sdk_and_no_prices():
    code = "from xcs_airflow import llm, op, pipeline, jit\nask = llm('m/m', '{x}')\n@op\ndef a(): ...\n@jit\n@pipeline\ndef f(): ..."
    assert loaded_after(code, HEAVY) == ["pydantic"]


def test_importing_the_tests_helper_loads_no_model_client():
    assert loaded_after("import xcs_airflow.testing", ["aiohttp"]) == []


@pytest.mark.parametrize("name", xcs_airflow.__all__)
def test_every_name_is_there(name):
    assert getattr(xcs_airflow, name) is not None


def test_names_come_from_a_fresh_import_and_jit_is_the_decorator_in_any_order():
    for first in ("import xcs_airflow.jit.strategies", "import xcs_airflow.authoring", "from xcs_airflow import Graph"):
        assert loaded_after(f"{first}\nimport xcs_airflow\nassert xcs_airflow.jit(lambda: 1)() == 1\nimport json", ["json"]) == ["json"]


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'pipelin'"):
        _ = xcs_airflow.pipelin


def test_all_is_sorted_and_listed():
    assert set(xcs_airflow.__all__) <= set(dir(xcs_airflow))
    assert len(xcs_airflow.__all__) == len(set(xcs_airflow.__all__))


def test_the_version_is_that_of_the_installed_package():
    assert xcs_airflow.__version__ == version("xcs-airflow")
