"""Writing a bundle: all or nothing, only its own files, and the same folder whatever was there before."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xcs_airflow.errors import ExportError
from xcs_airflow.exporting import writer
from xcs_airflow.exporting.bundle import INDEX, Bundle
from xcs_airflow.exporting.portable import unportable
from xcs_airflow.exporting.writer import STAGING, WriteReport, write_bundle


def bundle_of(files: dict[str, bytes]) -> Bundle:
    bundle = Bundle(files)
    return bundle.with_files({INDEX: bundle.index({"target": "test"})})


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def findings_of(bundle: Bundle, folder: Path, **options) -> set[tuple[str, str]]:
    with pytest.raises(ExportError) as caught:
        write_bundle(bundle, folder, **options)
    names = [(finding.code, finding.message.split(" ")[0].strip("'")) for finding in caught.value.findings]
    return {(code, name.removeprefix(f"{folder.as_posix()}/")) for code, name in names}


def test_a_new_folder_holds_exactly_the_bundle(tmp_path):
    bundle = bundle_of({"dag.py": b"one", "code/pipeline.py": b"two"})
    report = write_bundle(bundle, tmp_path / "out" / "here")
    assert report == WriteReport(created=("bundle.json", "code/pipeline.py", "dag.py"))
    assert tree(tmp_path / "out" / "here") == bundle.files


def test_writing_again_touches_nothing(tmp_path):
    bundle = bundle_of({"dag.py": b"one"})
    write_bundle(bundle, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path, tmp_path / "dag.py", tmp_path / INDEX)}
    report = write_bundle(bundle, tmp_path)
    assert report.is_same
    assert report.unchanged == ("bundle.json", "dag.py")
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_the_report_tells_created_changed_unchanged_and_removed(tmp_path):
    write_bundle(bundle_of({"same": b"1", "old": b"2", "gone/x": b"3"}), tmp_path)
    report = write_bundle(bundle_of({"same": b"1", "old": b"changed", "new": b"4"}), tmp_path)
    assert report == WriteReport(("new",), ("bundle.json", "old"), ("same",), ("gone/x",))
    assert sorted(tree(tmp_path)) == ["bundle.json", "new", "old", "same"]
    assert not (tmp_path / "gone").exists()


def test_files_of_others_stay(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    write_bundle(bundle_of({"dag.py": b"one"}), tmp_path)
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "own.py").write_text("mine")
    write_bundle(bundle_of({"other.py": b"two"}), tmp_path)
    assert sorted(tree(tmp_path)) == ["bundle.json", "code/own.py", "notes.txt", "other.py"]


def test_everything_in_the_way_is_named_and_nothing_is_touched(tmp_path):
    write_bundle(bundle_of({"kept.py": b"1", "edited.py": b"2", "dropped.py": b"3", "link.py": b"4"}), tmp_path)
    (tmp_path / "edited.py").write_text("by hand")
    (tmp_path / "dropped.py").write_text("by hand")
    (tmp_path / "foreign.py").write_text("theirs")
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "folder.py" / "x").write_text("theirs")
    (tmp_path / "link.py").unlink()
    (tmp_path / "link.py").symlink_to("kept.py")
    before = tree(tmp_path)
    bundle = bundle_of({"kept.py": b"new", "edited.py": b"new", "foreign.py": b"new", "folder.py": b"new", "link.py": b"new"})
    expected = {
        ("XCS511", "edited.py"),
        ("XCS511", "dropped.py"),
        ("XCS504", "foreign.py"),
        ("XCS504", "folder.py/"),
        ("XCS512", "link.py"),
    }
    assert findings_of(bundle, tmp_path) == expected
    assert findings_of(bundle, tmp_path, dry_run=True) == expected
    assert tree(tmp_path) == before


def test_a_file_that_already_holds_the_right_bytes_is_adopted(tmp_path):
    (tmp_path / "dag.py").write_bytes(b"one")
    assert write_bundle(bundle_of({"dag.py": b"one"}), tmp_path).unchanged == ("dag.py",)


@pytest.mark.parametrize("content", ["not json", "[]", '{"files": {}}', '{"bundle_version": 1, "files": {"../x": "0"}}'])
def test_an_index_that_is_not_ours_is_refused(tmp_path, content):
    (tmp_path / INDEX).write_text(content)
    assert findings_of(bundle_of({"dag.py": b"one"}), tmp_path) == {("XCS504", INDEX)}


def test_an_index_cannot_make_files_outside_the_folder_disappear(tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    out = tmp_path / "out"
    out.mkdir()
    (out / INDEX).write_text(Bundle({"x": b"precious"}).index({}).replace('"x"', '"../victim"'))
    findings_of(bundle_of({"dag.py": b"one"}), out)
    (out / INDEX).write_text(Bundle({"link/victim": b"precious"}).index({}))
    (out / "link").symlink_to(tmp_path)
    assert findings_of(bundle_of({"dag.py": b"one"}), out) == {("XCS512", "link")}
    assert victim.read_bytes() == b"precious"


def test_links_inside_the_folder_are_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    out = tmp_path / "out"
    out.mkdir()
    (out / "code").symlink_to(outside)
    (out / STAGING).symlink_to(outside)
    assert findings_of(bundle_of({"code/x.py": b"one"}), out) == {("XCS512", "code"), ("XCS512", STAGING)}
    assert list(outside.iterdir()) == []


def test_the_folder_itself_may_be_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    write_bundle(bundle_of({"x": b"one"}), tmp_path / "link")
    assert (tmp_path / "real" / "x").read_bytes() == b"one"


def test_a_file_in_place_of_the_folder_is_a_finding(tmp_path):
    (tmp_path / "out").write_text("a file")
    assert [code for code, _ in findings_of(bundle_of({"x": b"one"}), tmp_path / "out")] == ["XCS513"]


def test_a_file_may_become_a_folder_and_a_folder_a_file(tmp_path):
    write_bundle(bundle_of({"a": b"1", "b/c": b"2", "b/d/e": b"3"}), tmp_path)
    bundle = bundle_of({"a/x": b"4", "b": b"5"})
    write_bundle(bundle, tmp_path)
    assert tree(tmp_path) == bundle.files


@pytest.mark.parametrize("path", ["../x", "/x", "a/../x", "a//x", "./x", "c:\\x", "a\\..\\x", ""])
def test_no_bundle_holds_a_path_that_leaves_its_folder(path):
    with pytest.raises(ExportError, match="XCS505"):
        Bundle({path: b""})


@pytest.mark.parametrize(
    "paths",
    [
        ["nul"],
        ["AUX.txt"],
        ["com1.py"],
        ["a/con"],
        ["x."],
        ["x "],
        ["a?"],
        ["a\nb"],
        ["é" * 200],
        ["A", "a"],
        ["é", "e\u0301"],
        ["a", "a/b"],
    ],
)
def test_paths_that_some_system_cannot_hold_are_refused(tmp_path, paths):
    assert {code for code, _ in findings_of(bundle_of(dict.fromkeys(paths, b"")), tmp_path / "out")} == {"XCS510"}
    assert not (tmp_path / "out").exists()


def test_a_dry_run_reports_and_touches_nothing(tmp_path):
    assert write_bundle(bundle_of({"x": b"1"}), tmp_path / "out", dry_run=True).created == ("bundle.json", "x")
    assert list(tmp_path.iterdir()) == []


NAMES = st.sampled_from(["a", "b", "c.py", "code", "Ünï", "x-1"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
FILES = st.dictionaries(PATHS, st.binary(max_size=3), max_size=6).filter(lambda files: not list(unportable(files)))


@given(st.lists(FILES, min_size=1, max_size=4))
@settings(max_examples=40, deadline=None)
def test_whatever_was_exported_before_the_folder_ends_as_the_bundle(tmp_path_factory, exports):
    folder = tmp_path_factory.mktemp("out")
    for files in exports:
        bundle = bundle_of(files)
        write_bundle(bundle, folder)
        assert tree(folder) == bundle.files
        assert write_bundle(bundle, folder).is_same


@given(st.text(min_size=1, max_size=12))
@settings(max_examples=100, deadline=None)
def test_any_name_is_either_refused_or_written_inside_the_folder(tmp_path_factory, name):
    folder = tmp_path_factory.mktemp("parent")
    try:
        bundle = bundle_of({name: b"content"})
        write_bundle(bundle, folder / "out")
    except ExportError:
        assert list(folder.iterdir()) == []
    else:
        assert len(tree(folder / "out")) == 2
        assert [path.name for path in folder.iterdir()] == ["out"]


class PowerCutError(Exception):
    """Stands for the end of the process."""


@given(FILES, FILES, FILES, st.integers(0, 12))
@settings(max_examples=80, deadline=None)
def test_an_export_that_was_cut_off_anywhere_is_ended_by_the_next_one(tmp_path_factory, first, second, third, steps):
    folder = tmp_path_factory.mktemp("out")
    write_bundle(bundle_of(first), folder)
    with pytest.MonkeyPatch.context() as patch:
        count = iter(range(steps, -1, -1))

        def counted(function):
            def step(*args, **kwargs):
                if next(count, 0) == 0:
                    raise PowerCutError
                return function(*args, **kwargs)

            return step

        for name in ("replace", "unlink", "mkdir", "rmdir"):
            patch.setattr(Path, name, counted(getattr(Path, name)))
        patch.setattr(writer, "_write_synced", counted(writer._write_synced))
        patch.setattr(writer.shutil, "rmtree", counted(writer.shutil.rmtree))
        with contextlib.suppress(PowerCutError):
            write_bundle(bundle_of(second), folder)
    bundle = bundle_of(third)
    write_bundle(bundle, folder)
    assert tree(folder) == bundle.files


def test_two_exports_at_once_leave_one_of_them_whole(tmp_path):
    script = """
import sys
from pathlib import Path
from xcs_airflow.exporting.bundle import INDEX, Bundle
from xcs_airflow.exporting.writer import write_bundle
bundle = Bundle({f"f{i}": sys.argv[2].encode() * 100 for i in range(20)})
bundle = bundle.with_files({INDEX: bundle.index({})})
for _ in range(10):
    write_bundle(bundle, Path(sys.argv[1]))
"""
    command = [sys.executable, "-c", script, str(tmp_path / "out")]
    processes = [subprocess.Popen([*command, letter], stderr=subprocess.PIPE, env=os.environ) for letter in "ab"]
    errors = [process.communicate()[1] for process in processes]
    assert errors == [b"", b""]
    contents = {content for path, content in tree(tmp_path / "out").items() if path != INDEX}
    assert contents in ({b"a" * 100}, {b"b" * 100})
