"""What belongs to a pipeline: its folder, its modules."""

from __future__ import annotations

from pathlib import Path

import pytest

from xcs_airflow.authoring.roots import is_below, module_of_file, own_modules, root_of_module


@pytest.mark.parametrize(
    ("name", "file", "root"), [("flow", "a/flow.py", "a"), ("p.flow", "a/p/flow.py", "a"), ("p.q", "a/p/q/__init__.py", "a")]
)
def test_the_root_is_where_the_outermost_package_lies(name, file, root):
    assert Path(root) == root_of_module(name, Path(file))


def test_a_file_is_named_by_the_packages_above_it(write, tmp_path):
    write("p/__init__.py")
    write("p/q/__init__.py")

    assert (tmp_path, "p.q.flow") == module_of_file(write("p/q/flow.py"))
    assert (tmp_path, "p.q") == module_of_file(tmp_path / "p/q/__init__.py")
    assert (tmp_path / "loose", "flow") == module_of_file(write("loose/flow.py"))


def test_modules_are_found_through_imports_of_every_form(write, tmp_path):
    start = write(
        "pack/flow.py", "from . import a\nfrom .b import thing\nimport other.deep\nfrom pack.c import *\n\ndef late():\n    import lazy\n"
    )
    write("pack/__init__.py", "from pack import above\n")
    write("pack/above.py")
    write("pack/a.py", "from ..pack.sub import d")
    write("pack/b.py", "import json, xcs_airflow, pydantic")
    write("pack/c.py", "from .sub.e import name")
    write("pack/sub/__init__.py")
    write("pack/sub/d.py", "from .. import a")
    write("pack/sub/e.py", "from . import d\nfrom ... import toofar")
    write("other/__init__.py")
    write("other/deep.py", "import other")
    write("lazy.py")
    for unused in ("pack/unused.py", "unused.py", "other/unused.py"):
        write(unused)

    expected = ["lazy.py", "other/__init__.py", "other/deep.py", "pack/__init__.py", "pack/a.py", "pack/above.py", "pack/b.py", "pack/c.py"]
    expected += ["pack/flow.py", "pack/sub/__init__.py", "pack/sub/d.py", "pack/sub/e.py"]
    assert expected == list(own_modules(tmp_path, start))


def test_folders_without_an_init_file_are_packages_too(write, tmp_path):
    start = write("flow.py", "from space.deep import thing")
    write("space/deep/thing.py")

    assert list(own_modules(tmp_path, start)) == ["flow.py", "space/deep/thing.py"]


def test_a_package_goes_before_a_module_of_the_same_name(write, tmp_path):
    start = write("flow.py", "import both")
    write("both.py")
    write("both/__init__.py")

    assert list(own_modules(tmp_path, start)) == ["both/__init__.py", "flow.py"]


def test_an_installed_package_brings_only_itself(write, tmp_path):
    start = write("site-packages/pack/flow.py", "import other, pack.more")
    for file in ("pack/__init__.py", "pack/more.py", "other.py"):
        write(f"site-packages/{file}")

    assert list(own_modules(tmp_path / "site-packages", start)) == ["pack/__init__.py", "pack/flow.py", "pack/more.py"]


def test_installed_packages_below_a_folder_are_not_its_own(tmp_path):
    assert is_below(tmp_path, tmp_path / "a/b.py")
    assert not is_below(tmp_path, tmp_path / ".venv/lib/site-packages/a.py")
    assert not is_below(tmp_path, f"{tmp_path}-other/a.py")
    assert not is_below(tmp_path, None)
