"""`[tool.xcs]`: found above, strict, seen from where xcs runs, and after the environment."""

from __future__ import annotations

import pytest

from xcs_airflow.errors import ConfigError
from xcs_airflow.exporting.image import Image
from xcs_airflow.exporting.settings import ProjectSettings, is_file_spec, load_settings

FULL = """
[project]
name = "theirs"

[tool.xcs]
pipelines = ["pipelines/triage.py:triage", "acme.reports:daily", "graph.json"]
output = "out"
prices = "prices.toml"

[tool.xcs.image]
base = "python:3.13-slim"
requirements = "requirements.txt"

[tool.xcs.targets.aws-batch]
region = "eu-central-1"

[tool.xcs.targets.airflow]
"""


@pytest.fixture
def project(tmp_path):
    (tmp_path / "pyproject.toml").write_text(FULL)
    return tmp_path


def test_without_a_file_the_defaults_hold(tmp_path):
    assert load_settings(tmp_path, {}) == ProjectSettings()


def test_everything_is_read(project):
    settings = load_settings(project, {})
    assert settings.pipelines == ("pipelines/triage.py:triage", "acme.reports:daily", "graph.json")
    assert (settings.output, settings.prices) == ("out", "prices.toml")
    assert settings.targets == {"aws-batch": {"region": "eu-central-1"}, "airflow": {}}
    assert settings.target_names == ("aws-batch", "airflow")
    assert settings.image.base == "python:3.13-slim"


def test_paths_are_seen_from_the_folder_that_xcs_runs_in(project):
    below = project / "src" / "deep"
    below.mkdir(parents=True)
    settings = load_settings(below, {})
    assert settings.pipelines == ("../../pipelines/triage.py:triage", "acme.reports:daily", "../../graph.json")
    assert (settings.output, settings.prices, settings.image.requirements) == ("../../out", "../../prices.toml", "../../requirements.txt")


def test_a_nearer_file_without_the_table_does_not_count(project):
    below = project / "package"
    below.mkdir()
    (below / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert load_settings(below, {}).output == "../out"


def test_variables_go_before_the_file(project):
    environment = {"XCS_PIPELINES": "a.py:f b.py:g", "XCS_OUTPUT": "elsewhere", "XCS_PRICES": "", "XCS_STORE": "s3://x"}
    settings = load_settings(project, environment)
    assert settings.pipelines == ("a.py:f", "b.py:g")
    assert (settings.output, settings.prices) == ("elsewhere", "prices.toml")


@pytest.mark.parametrize(
    ("table", "reasons"),
    [
        ("[tool.xcs]\npipeline = []", ["there is no setting 'pipeline'"]),
        ("[tool.xcs]\noutput = 3\nfoo = 1", ["output: Input should be a valid string", "there is no setting 'foo'"]),
        ("[tool.xcs.image]\nbases = 'x'", ["there is no setting 'image.bases'"]),
        ("[tool.xcs.image]\nbase = 'x\\nRUN evil'", ["image.base: it is not the name of an image, as in python:3.12-slim"]),
        ("[tool.xcs.targets]\naws-batch = 1", ["targets.aws-batch: Input should be a valid dictionary"]),
        ("[tool]\nxcs = 1", ["it: Input should be"]),
        ("[tool.xcs", ["it is not TOML"]),
    ],
)
def test_what_is_wrong_is_found_all_at_once(tmp_path, table, reasons):
    (tmp_path / "pyproject.toml").write_text(table)
    with pytest.raises(ConfigError) as caught:
        load_settings(tmp_path, {})
    assert {finding.code for finding in caught.value.findings} == {"XCS803"}
    messages = [finding.message for finding in caught.value.findings]
    assert all(any(reason in message for message in messages) for reason in reasons)
    assert len(messages) == len(reasons)


def test_a_misspelt_setting_gets_a_suggestion(tmp_path):
    (tmp_path / "pyproject.toml").write_text("[tool.xcs]\npipeline = []")
    with pytest.raises(ConfigError, match="did you mean 'pipelines'"):
        load_settings(tmp_path, {})


def test_the_requirements_file_is_read_into_the_image(project, monkeypatch):
    monkeypatch.chdir(project)
    image = load_settings(project, {}).image
    with pytest.raises(ConfigError, match="XCS515"):
        image.read()
    (project / "requirements.txt").write_bytes(b"polars==1\n")
    assert image.read() == Image("python:3.13-slim", b"polars==1\n")


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("a.py", True),
        ("a/b.py:f", True),
        ("a\\b.py:f", True),
        ("graph.json", True),
        ("package.module:f", False),
        ("package.py:f", True),
        ("package", False),
    ],
)
def test_files_are_told_from_modules(spec, expected):
    assert is_file_spec(spec) is expected


def test_what_providers_allow_is_read(project):
    (project / "pyproject.toml").write_text("[tool.xcs.limits.openai]\nrequests_per_minute = 500\ntokens_per_minute = 200000\n")
    limit = load_settings(project, {}).limits["openai"]
    assert (limit.requests_per_minute, limit.tokens_per_minute) == (500, 200_000)


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ("", "neither requests_per_minute nor tokens_per_minute"),
        ("per_minute = 5", "no setting"),
        ("requests_per_minute = 0", "greater than 0"),
    ],
)
def test_limits_that_say_nothing_or_nonsense_are_refused(project, table, reason):
    (project / "pyproject.toml").write_text(f"[tool.xcs.limits.openai]\n{table}\n")
    with pytest.raises(ConfigError, match=reason):
        load_settings(project, {})
