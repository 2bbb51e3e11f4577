"""The shape of the repository: contracts between modules, sizes of files, names that say something."""

import ast
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = [*sorted((ROOT / "xcs_airflow").rglob("*.py")), *sorted((ROOT / "exporters").rglob("*.py"))]
SDKS = {"airflow", "anthropic", "boto3", "botocore", "cryptography", "google", "httpx", "httpx2", "openai", "redis", "obstore", "xllamacpp"}


def test_import_contracts_hold():
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def imports_at_top(path):
    """The modules a module imports as soon as it is imported itself."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_no_module_imports_an_sdk_at_its_top():
    found = [f"{path.relative_to(ROOT)}: {name}" for path in SOURCES for name in imports_at_top(path) if name.split(".")[0] in SDKS]
    assert found == []


def test_the_runtime_is_imported_inside_functions_only():
    others = [path for path in SOURCES if not path.is_relative_to(ROOT / "xcs_airflow" / "runtime")]
    found = [
        f"{path.relative_to(ROOT)}: {name}" for path in others for name in imports_at_top(path) if name.startswith("xcs_airflow.runtime")
    ]
    assert found == []


def test_modules_stay_readable():
    too_long = {
        str(path.relative_to(ROOT)): lines for path in SOURCES if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert too_long == {}


def test_file_names_say_what_is_inside():
    empty = re.compile(r"(utils?|helpers?|common|misc|base_\w+|\w*manager|\w*handler)\.py")
    assert [path.name for path in SOURCES if empty.fullmatch(path.name)] == []


def test_every_module_says_what_it_knows():
    assert [str(path.relative_to(ROOT)) for path in SOURCES if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))] == []


def test_no_tracked_text_names_a_machine_or_a_registry():
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    hosts = re.compile(r"files\.python" + r"hosted|pypi\." + r"org|registry\.npm" + r"js|/ro" + r"ot/|/ho" + r"me/[a-z]+/")
    found = []
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if path.is_file() and hosts.search(path.read_bytes().decode("utf-8", "replace")):
            found.append(name)
    assert found == []
