"""What is generated from the code is what the code generates now."""

import pytest

from tools import regenerate


@pytest.mark.parametrize("kind", regenerate.GENERATED)
def test_generated_files_are_current(kind):
    files = regenerate.golden_files() if kind == "golden" else regenerate.doc_files()
    assert regenerate.bring_up_to_date(kind, files, write=False) == []


def test_ci_never_rewrites(monkeypatch):
    monkeypatch.setenv("CI", "true")
    monkeypatch.setattr("sys.argv", ["regenerate", "golden"])
    assert regenerate.main() == 2
