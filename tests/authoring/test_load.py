"""Pipelines are found by what people type."""

from __future__ import annotations

import sys

import pytest

from xcs_airflow.authoring import Pipeline, load_pipeline
from xcs_airflow.authoring.importing import importable
from xcs_airflow.errors import ConfigError, TraceError

FLOW = """
from xcs_airflow import op, pipeline
from helper import NAME

@op
def work() -> str:
    import late
    return f"{NAME} {late.NAME}"

@pipeline
def flow():
    return work()
"""


@pytest.fixture
def project(write):
    """Writes a folder with a pipeline and two modules beside it."""

    def make(folder: str):
        write(f"{folder}/helper.py", f"NAME = {folder!r}")
        write(f"{folder}/late.py", f"NAME = 'late {folder}'")
        return write(f"{folder}/flow.py", FLOW)

    return make


def test_a_file_and_a_function_name_a_pipeline(project):
    found = load_pipeline(f"{project('one')}:flow")

    assert isinstance(found, Pipeline)
    assert found.graph()["work"].func == "flow:work"
    assert list(found.code()) == ["flow.py", "helper.py", "late.py"]


def test_files_of_the_same_name_in_different_folders_live_side_by_side(project):
    first, second = load_pipeline(str(project("one"))), load_pipeline(str(project("two")))

    assert [first(), second(), first()] == ["one late one", "two late two", "one late one"]
    assert "flow:work" == first.graph()["work"].func == second.graph()["work"].func
    assert second.code()["helper.py"] == b"NAME = 'two'"


def test_loading_leaves_no_trace(project):
    path, modules = list(sys.path), set(sys.modules)
    found = load_pipeline(str(project("one")))
    found()

    assert path == sys.path
    assert not {"flow", "helper", "late"} & (set(sys.modules) - modules)


def test_a_module_of_the_same_name_from_elsewhere_comes_back(project, write, monkeypatch):
    write("elsewhere/helper.py", "NAME = 'elsewhere'")
    monkeypatch.syspath_prepend(str(project("one").parent.parent / "elsewhere"))
    import helper  # noqa: PLC0415

    assert load_pipeline(str(project("one")))() == "one late one"
    assert sys.modules["helper"] is helper
    del sys.modules["helper"]


def test_a_file_in_a_package_is_imported_as_part_of_it(write):
    write("pack/__init__.py")
    write("pack/names.py", "NAME = 'relative'")
    file = write(
        "pack/flow.py",
        "from xcs_airflow import op, pipeline\nfrom .names import NAME\n@op\ndef a(): return NAME\n@pipeline\ndef flow(): return a()\n",
    )

    found = load_pipeline(f"{file}:flow")
    assert (found(), found.graph()["a"].func) == ("relative", "pack.flow:a")


def test_a_module_is_found_from_the_current_folder(project, monkeypatch):
    monkeypatch.chdir(project("one").parent)

    assert "one late one" == load_pipeline("flow:flow")() == load_pipeline("flow")() == load_pipeline("flow.py:flow")()


def test_the_function_may_be_left_out_when_there_is_one_pipeline(load):
    text = "@op\ndef a(): return 1\n@pipeline\ndef one(): return a()\n"
    assert load(text).name == "one"

    with pytest.raises(ConfigError, match="has 2 pipelines: one, two"):
        load(f"{text}@pipeline\ndef two(): return a()\n", path="both.py")
    with pytest.raises(ConfigError, match="no function with @pipeline"):
        load("", path="none.py")


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("flow.py:flwo", "it has no flwo; did you mean 'flow'?"),
        ("flow.py:work", "work has no @pipeline"),
        ("flwo.py:flow", "there is no file flwo.py; did you mean 'flow.py'?"),
        ("nowhere/flow.py:flow", "there is no file nowhere/flow.py; there are none"),
        ("no.such.module:flow", "there is no module no.such.module"),
        ("nosuch", "there is no module nosuch"),
        ("not a name:flow", "'not a name' is neither a file nor a module"),
        ("", "'' is neither a file nor a module"),
        ("my-flow.py:flow", "my-flow.py cannot be imported: its name is no Python name"),
        ("sys:flow", "there is no module sys"),
    ],
)
def test_what_names_no_pipeline_says_why(project, write, monkeypatch, spec, reason):
    monkeypatch.chdir(project("one").parent)
    write("one/my-flow.py")

    with pytest.raises(ConfigError) as caught:
        load_pipeline(spec)
    assert ("XCS801", f"{spec!r} does not name a pipeline: {reason}") == (caught.value.code, caught.value.findings[0].message)


@pytest.mark.parametrize(
    ("text", "error", "line", "place"),
    [
        (
            "\nimport nothing_of_this_name\n",
            "ModuleNotFoundError: No module named 'nothing_of_this_name'",
            "import nothing_of_this_name",
            "bad.py:2",
        ),
        ("x = 1\nraise ValueError('no')\n", "ValueError: no", "raise ValueError('no')", "bad.py:2"),
        ("import json\njson.loads('{')\n", "JSONDecodeError: Expecting property name", "json.loads('{')", "bad.py:2"),
        ("import sys\nsys.exit(3)\n", "SystemExit: 3", "sys.exit(3)", "bad.py:2"),
        ("def f(:\n", "SyntaxError: invalid syntax", "def f(:", "bad.py:1"),
        ("from broken import x\n", "ZeroDivisionError: division by zero", "1 / 0", "broken.py:1"),
    ],
)
def test_an_import_that_fails_shows_the_users_last_line(write, text, error, line, place):
    write("broken.py", "1 / 0\n")
    with pytest.raises(ConfigError) as caught:
        load_pipeline(str(write("bad.py", text)))

    finding = caught.value.findings[0]
    assert ("XCS804", place, f"the last line of your code was {line}") == (finding.code, finding.place, finding.hint)
    assert error in finding.message
    assert caught.value.__cause__ is not None


def test_what_a_decorator_finds_is_reported_as_such(load):
    with pytest.raises(TraceError, match="XCS110"):
        load("@pipeline(budget='much')\ndef flow(): ...")


def test_a_module_that_failed_can_be_loaded_after_it_was_mended(write):
    file = write("flow.py", "1 / 0\n")
    with pytest.raises(ConfigError):
        load_pipeline(str(file))
    write("flow.py", "from xcs_airflow import op, pipeline\n@op\ndef a(): return 'mended'\n@pipeline\ndef flow(): return a()\n")

    assert load_pipeline(str(file))() == "mended"


def test_the_standard_library_is_never_hidden(write, tmp_path):
    import json  # noqa: PLC0415

    write("json.py", "raise ValueError")
    with importable(tmp_path):
        import json as again  # noqa: PLC0415
    assert again is json


def test_a_folder_that_is_importable_anyway_is_left_alone(write, tmp_path, monkeypatch):
    write("stays_here.py", "X = 1")
    monkeypatch.syspath_prepend(str(tmp_path))
    with importable(tmp_path):
        import stays_here  # noqa: PLC0415
    assert sys.modules.pop("stays_here") is stays_here


def test_a_package_that_fails_on_the_way_to_a_module_is_reported(write, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    write("bad/__init__.py", "1 / 0\n")
    write("bad/flow.py")
    with pytest.raises(ConfigError) as caught:
        load_pipeline("bad.flow:flow")
    assert (caught.value.code, caught.value.findings[0].place) == ("XCS804", "bad/__init__.py:1")
