"""Bundles: values with safe paths and an index that tells all of them."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xcs_airflow.errors import ExportError
from xcs_airflow.exporting.bundle import Bundle, is_inside


def test_a_bundle_grows_by_making_another():
    small = Bundle({"a": b"1"})
    large = small.with_files({"b": "é", "a": b"2"})
    assert small.files == {"a": b"1"}
    assert large.files == {"a": b"2", "b": "é".encode()}
    assert large.text("b") == "é"


def test_the_index_has_facts_and_sorted_hashes():
    index = json.loads(Bundle({"b": b"2", "a": b"1"}).index({"target": "toy"}))
    assert index == {
        "bundle_version": 1,
        "target": "toy",
        "files": {name: hashlib.sha256(name_of).hexdigest() for name, name_of in (("a", b"1"), ("b", b"2"))},
    }


@pytest.mark.parametrize("path", ["", "/a", "../a", "a/../b", "a//b", "./a", "a/.", "C:/a", "a\\b", "a\0b"])
def test_a_path_that_could_leave_its_folder_makes_no_bundle(path):
    assert not is_inside(path)
    with pytest.raises(ExportError, match="XCS505"):
        Bundle({path: b""})


@given(st.text())
def test_a_safe_path_stays_below_its_folder(tmp_path_factory, path):
    if is_inside(path) and not any("\ud800" <= char <= "\udfff" for char in path):
        root = tmp_path_factory.getbasetemp()
        assert (root / path).resolve().is_relative_to(root.resolve())
