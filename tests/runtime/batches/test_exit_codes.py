"""The same tasks as processes: what a platform sees of a batch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from xcs_airflow.runtime import main


@pytest.fixture
def start(lab, tmp_path, monkeypatch):
    """Starts a task the way platforms do; gives its exit code."""
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps(lab.manifest.to_dict()))
    for name, value in {"STORE": lab.settings.store, "MODELS": json.dumps(lab.server.models(timeout_s=20))}.items():
        monkeypatch.setenv(f"XCS_{name}", str(value))

    def run(task, *, apart=False):
        arguments = ["--manifest", str(manifest), "--task", task, "--run", "run"]
        if not apart:
            return main(arguments)
        command = [sys.executable, "-m", "xcs_airflow.runtime", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=os.environ)
        run.errors = done.stderr
        return done.returncode

    return run


def test_a_poll_ends_with_75_until_everything_is_taken_in(lab, start):
    lab.server.looks = 3
    assert [start(task) for task in ("load", "ask.submit", "ask.poll", "ask.poll", "ask.poll", "ask", "report")] == [0, 0, 75, 75, 0, 0, 0]
    assert lab.collect() == lab.answers
    assert lab.server.billed == lab.once
    assert not list((lab.folder() / "errors").rglob("*"))  # that something takes its time is no failure


def test_a_process_of_its_own_says_what_it_waits_for(lab, start):
    lab.server.looks = 2
    assert start("load") == start("ask.submit") == 0
    assert start("ask.poll", apart=True) == 75
    assert "1 of 1 batches of " in start.errors
    assert "the provider is at work" in start.errors
    assert start("ask.poll") == start("ask") == 0


def test_a_provider_that_is_down_is_75_and_one_that_refuses_is_1(lab, start):
    start("load")
    lab.server.faults["create"] = [429] * 5 + [400]
    assert [start("ask.submit") for _ in range(3)] == [75, 1, 0]
    error = json.loads(Path(lab.folder(), "errors", "ask.submit", "0-of-1.1.json").read_text())
    assert error["findings"][0]["code"] == "XCS723"
