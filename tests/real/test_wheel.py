"""The wheel: installed somewhere else, without the checkout, it exports the starter to the same bytes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STARTER = ROOT / "templates" / "starters" / "triage"
TARGETS = ("airflow", "aws-batch", "cloud-run")

pytestmark = pytest.mark.real


def run(*command, cwd, **environment):
    """A command in an environment that knows nothing of this checkout."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "XCS_", "VIRTUAL_ENV"))}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=kept | environment, capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The scripts of a fresh environment that holds the wheel, and the dependencies of this one without its checkout."""
    home = tmp_path_factory.mktemp("installed")
    venv.create(home, with_pip=False, symlinks=True)
    folder = Path(sysconfig.get_path("purelib", "venv", {"base": str(home), "platbase": str(home)}))
    dependencies = home / "dependencies"
    dependencies.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        # Neither the checkout's own metadata nor what puts the checkout on the path.
        if entry.suffix != ".pth" and not entry.name.startswith(("xcs_airflow", "_xcs_airflow", "__editable__")):
            (dependencies / entry.name).symlink_to(entry)
    (folder / "dependencies.pth").write_text(f"{dependencies}\n")
    run(sys.executable, "-m", "pip", "--python", home / "bin" / "python", "install", "--no-deps", "--no-index", "--quiet", wheel, cwd=home)
    return home / "bin"


def test_the_wheel_holds_the_packages_and_the_templates(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"xcs_airflow", "xcs_exporters"}
    for path in ("docker/Dockerfile.jinja", "starters/triage/pipeline.py", "starters/triage/tickets.jsonl"):
        assert f"xcs_airflow/templates/{path}" in names
    assert "xcs_airflow/py.typed" in names
    assert [name for name in names if name.endswith(".pyc") or "__pycache__" in name] == []


def test_the_wheel_is_what_is_imported(installed, tmp_path):
    code = "import xcs_airflow, xcs_exporters; print(xcs_airflow.__file__, xcs_exporters.__path__[0])"
    for place in run(installed / "python", "-c", code, cwd=tmp_path).split():
        assert Path(place).is_relative_to(installed.parent)


def test_both_scripts_are_installed(installed, tmp_path):
    assert "Usage: xcs-export" in run(installed / "xcs-export", "--help", cwd=tmp_path)
    assert run(installed / "xcs", "--version", cwd=tmp_path).startswith("xcs-airflow ")


def test_the_starter_exports_to_the_same_bytes_everywhere(installed, tmp_path):
    elsewhere = tmp_path / "some" / "project"
    shutil.copytree(STARTER, elsewhere / "triage", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "other").mkdir()
    targets = [part for target in TARGETS for part in ("--target", target)]
    export = ["xcs-export", "../some/project/triage/pipeline.py:triage", *targets, "-o", tmp_path / "wheel"]
    run(installed / export[0], *export[1:], cwd=tmp_path / "other")
    script = "from xcs_airflow.cli.export import main; main()"
    here = [sys.executable, "-c", script, STARTER / "pipeline.py:triage", *targets, "-o", tmp_path / "checkout"]
    run(*here, cwd=ROOT, PYTHONPATH=os.environ.get("PYTHONPATH", ""), PYTHONHASHSEED="7")
    assert sorted(path.name for path in (tmp_path / "wheel").iterdir()) == sorted(TARGETS)
    assert tree(tmp_path / "wheel") == tree(tmp_path / "checkout")
