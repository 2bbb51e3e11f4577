"""`xcs run`: the value on stdout, the books on stderr, and a second run that asks nobody."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest


def test_the_value_goes_to_stdout_and_the_books_to_stderr(run_xcs, models, server):
    result = run_xcs("run", "pipeline.py:triage", "--models", models, "--run-id", "one")
    assert result.exit_code == 0
    assert result.stdout == "A, B, A\n"
    assert sum(server.questions.values()) == 2
    rows = [line.split() for line in result.stderr.splitlines()]
    assert ["estimated", "3"] in [row[:2] for row in rows]
    assert ["used", "2", "20", "4"] in [row[:4] for row in rows]
    assert "0 answers came from the cache, 1 were shared with an equal question" in result.stderr


def test_a_second_run_asks_nobody(run_xcs, models, server):
    run_xcs("run", "pipeline.py", "--models", models)
    result = run_xcs("run", "pipeline.py", "--models", models)
    assert result.stdout == "A, B, A\n"
    assert sum(server.questions.values()) == 2
    assert "3 answers came from the cache" in result.stderr


def test_the_json_form_holds_value_and_books(run_xcs, models, project):
    (project / "models.json").write_text(models)
    document = json.loads(run_xcs("run", "pipeline.py", "--models", "models.json", "--run-id", "one", "--format", "json").stdout)
    assert (document["schema_version"], document["pipeline"], document["run_id"]) == (1, "triage", "one")
    assert document["output"] == "A, B, A"
    assert [(entry["operation"], entry["calls"]) for entry in document["operations"]] == [("classify", 2)]


def test_store_and_cache_go_where_they_are_told(run_xcs, models, project):
    result = run_xcs("run", "pipeline.py", "--models", models, "--store", "here", "--cache", "sqlite:///there.sqlite")
    assert result.exit_code == 0
    assert (project / "here").is_dir()
    assert (project / "there.sqlite").is_file()
    assert not (project / ".xcs").exists()


PARAMETERS = """
from xcs_airflow import op, pipeline


@op
def echo(text: str, count: int, flag: bool, names: list[str], maybe: str | None) -> list:
    return [text, count, flag, names, maybe]


@pipeline
def parameters(text: str, count: int, flag: bool = False, names: list[str] = [], maybe: str | None = None):
    return echo(text, count, flag, names, maybe)
"""


def test_parameters_are_text_or_json_as_declared(run_xcs, project):
    (project / "parameters.py").write_text(PARAMETERS)
    given = ["text=5", "count=5", "flag=true", 'names=["a", "b"]', "maybe=7"]
    result = run_xcs("run", "parameters.py", *[part for text in given for part in ("--param", text)])
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout) == ["5", 5, True, ["a", "b"], "7"]


def test_all_wrong_parameters_are_found_before_the_run(run_xcs, project, codes):
    (project / "parameters.py").write_text(PARAMETERS)
    result = run_xcs("run", "parameters.py", "-p", "count=many", "-p", "flags=true", "--format", "json")
    assert result.exit_code == 2
    assert codes(result) == ["XCS607", "XCS607", "XCS607"]
    assert not (project / ".xcs").exists()


def test_a_failed_run_says_how_to_go_on(run_xcs, project, models, server):
    text = (project / "pipeline.py").read_text()
    (project / "pipeline.py").write_text(
        text.replace("def report(teams: list[str]) -> str:", "def report(teams: list[str]) -> str:\n    1 / 0")
    )
    result = run_xcs("run", "pipeline.py", "--models", models, "--run-id", "one")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "error[XCS603]" in result.stderr
    assert "--run-id one goes on with it" in result.stderr
    assert ["used", "2"] in [line.split()[:2] for line in result.stderr.splitlines()]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--param", "path"], "write NAME=VALUE"),
        (["--param", "path=a", "--param", "path=b"], "given twice"),
        (["--models", "gone.json"], "XCS805"),
        (["--models", '{"openai": {"endpoint": 3}}'], "XCS611"),
    ],
)
def test_a_wrong_command_line_starts_nothing(run_xcs, project, arguments, message):
    result = run_xcs("run", "pipeline.py", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (project / ".xcs").exists()


CHANGING = """
from tickets import words

from xcs_airflow import llm, op, pipeline


def note(name):
    with open("ran.txt", "a", encoding="utf-8") as file:
        print(name, file=file)


@op
def load() -> list[str]:
    note("load")
    return words()


classify = llm("openai/gpt-4.1-mini", "Which team? {ticket}", temperature=0)
muse = llm("openai/gpt-4.1-mini", "Muse on {ticket}")


@op
def report(teams: list[str], musings: list[str]) -> str:
    note("report")
    return " ".join([*teams, *musings])


@op
def aside() -> int:
    note("aside")
    return 1


@pipeline
def changing():
    tickets = load()
    return [report(classify.map(ticket=tickets), muse.map(ticket=tickets)), aside()]
"""


def test_a_run_goes_on_with_what_changed_in_the_code_and_pays_for_nothing_twice(start_xcs, project, models, server):
    def run():
        (project / "ran.txt").write_text("")
        result = start_xcs("run", "changing.py", "--models", models, "--run-id", "one")
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)[0], (project / "ran.txt").read_text().split(), sum(server.questions.values())

    (project / "tickets.py").write_text("def words():\n    return ['a', 'b', 'a']\n")
    (project / "changing.py").write_text(CHANGING)
    text, ran, calls = run()
    assert (text, sorted(ran), calls) == ("A B A A B A", ["aside", "load", "report"], 5)

    (project / "changing.py").write_text(CHANGING.replace('" ".join', '"-".join'))
    assert run() == ("A-B-A-A-B-A", ["report"], 5)

    (project / "tickets.py").write_text("def words():\n    '''Tickets.'''\n    return list('aba')  # the same\n")
    assert run() == ("A-B-A-A-B-A", ["load", "report"], 5)

    (project / "tickets.py").write_text("def words():\n    '''All tickets.'''\n    # as they came\n    return list('aba')\n")
    assert run() == ("A-B-A-A-B-A", [], 5)

    (project / "tickets.py").write_text("def words():\n    return list('abc')\n")
    assert run() == ("A-B-C-A-B-C", ["load", "report"], 7)


WAITING = """
import sys
import threading

from xcs_airflow import op, pipeline


@op
def wait() -> str:
    print("waiting", file=sys.stderr, flush=True)
    threading.Event().wait(60)
    return "done"


@pipeline
def waiting():
    return wait()
"""


def test_ctrl_c_ends_a_run_at_once_and_says_how_to_go_on(project):
    (project / "waiting.py").write_text(WAITING)
    command = [sys.executable, "-c", "from xcs_airflow.cli.main import main; main()", "run", "waiting.py", "--run-id", "one"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    assert (process.returncode, output) == (130, "")
    assert "--run-id one goes on with it" in errors
    assert errors.endswith("interrupted\n")
    assert "Traceback" not in errors
