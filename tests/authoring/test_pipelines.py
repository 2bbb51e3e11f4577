"""`@pipeline`: settings, files, and running with values."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal

import pytest

from xcs_airflow.authoring import op, pipeline
from xcs_airflow.errors import TraceError
from xcs_airflow.ir import PipelinePolicy
from xcs_airflow.testing import fake_models

FLOW = """
@op
def load(path: str = "in") -> list[str]:
    return [path, path + "!"]

ask = llm("openai/gpt-4.1-mini", "About {x}")

@op
def join(answers: list[str]) -> str:
    return " ".join(answers)

@pipeline(SETTINGS)
def flow(path: str = "x"):
    "Asks about things."
    return {"joined": join(ask.map(x=load(path))), "path": path}
"""


@pytest.fixture
def flow(load):
    return lambda settings="": load(FLOW.replace("SETTINGS", settings))


def test_called_with_values_it_simply_runs(flow):
    with fake_models(lambda prompt: prompt.upper()) as calls:
        result = flow()("a")

    assert result == {"joined": "ABOUT A ABOUT A!", "path": "a"}
    assert calls.count == 2


def test_without_settings_it_is_named_after_the_function_and_described_by_its_docstring(flow):
    found = flow()

    assert ("flow", PipelinePolicy(description="Asks about things.")) == (found.name, found.policy)
    assert (found.__name__, found.__doc__) == ("flow", "Asks about things.")
    assert repr(found) == "<pipeline flow>"


def test_settings_become_the_policy_of_the_graph(flow):
    found = flow(
        'schedule="0 6 * * MON-FRI", timezone="Europe/Berlin", budget="5 USD", deadline="1d12h", optimize="latency", name="daily",'
        'description="Every day."'
    )
    expected = PipelinePolicy(
        schedule="0 6 * * MON-FRI",
        timezone="Europe/Berlin",
        budget_usd=Decimal(5),
        deadline_s=129_600,
        optimize="latency",
        description="Every day.",
    )
    assert ("daily", expected, "flow.py:13") == (found.graph().name, found.graph().policy, found.graph().source)


def test_every_wrong_setting_is_reported_with_the_line(flow):
    with pytest.raises(TraceError) as caught:
        flow('schedule="daily", timezone="Mars", budget="5 EUR", deadline="soon", optimize="speed", name="a b", budgt=1')

    findings = caught.value.findings
    assert {"schedule", "timezone", "budget", "deadline", "optimize", "name", "budgt"} == {f.message.partition(" ")[0] for f in findings}
    assert {("XCS110", "flow.py:13")} == {(finding.code, finding.place) for finding in findings}
    assert 'write "5 USD"' in {finding.hint for finding in findings}
    assert "did you mean 'budget'?" in {finding.hint for finding in findings}


@pytest.mark.parametrize("definition", ["async def flow(): ...", "def flow(): yield 1", "async def flow(): yield 1", "def flow(*x): ..."])
def test_what_cannot_be_a_pipeline_is_refused(definition):
    space: dict = {}
    exec(definition, space)  # kinds of functions as text
    with pytest.raises(TraceError, match="XCS110"):
        pipeline(space["flow"])


def test_the_code_is_its_own_modules_and_declared_files(write, flow):
    write("helper.py", "X = 1\n")
    write("unrelated.py")
    write("data/a.jsonl", "{}\n")
    write("data/b.jsonl", "{}\n")
    write("data/c.txt")
    found = flow('files=["data/*.jsonl"]')

    assert list(found.code()) == ["data/a.jsonl", "data/b.jsonl", "flow.py"]
    assert found.code()["data/a.jsonl"] == b"{}\n"


def test_declared_files_lie_beside_the_module_and_travel_with_it(write, load):
    write("pack/__init__.py")
    write("pack/data.txt", "x")
    found = load('@op\ndef a() -> int:\n    return 1\n\n@pipeline(files=["data.txt"])\ndef flow():\n    return a()', path="pack/flow.py")

    assert list(found.code()) == ["pack/__init__.py", "pack/data.txt", "pack/flow.py"]
    assert found.graph()["a"].func == "pack.flow:a"
    assert found.graph().source == "pack/flow.py:6"


def test_every_declared_file_that_does_not_exist_is_named(write, flow):
    write("there.txt")
    with pytest.raises(TraceError) as caught:
        flow('files=["there.txt", "gone.txt", "../outside.txt", "/etc/hostname"]').code()

    assert [finding.message for finding in caught.value.findings] == [
        "files = 'gone.txt' is not valid for @pipeline: there is no such file",
        "files = '../outside.txt' is not valid for @pipeline: it lies outside the pipeline's folder",
        "files = '/etc/hostname' is not valid for @pipeline: it lies outside the pipeline's folder",
    ]


def test_a_step_that_a_worker_cannot_find_is_named_with_its_line():
    @op
    def inner() -> int:
        return 1

    @pipeline
    def flow():
        return inner()

    assert flow() == 1
    with pytest.raises(TraceError) as caught:
        flow.graph()
    assert (caught.value.code, caught.value.findings[0].place) == (
        "XCS105",
        f"test_pipelines.py:{inner.__wrapped__.__code__.co_firstlineno}",
    )
    assert "defined inside another function" in str(caught.value)


SCRIPT = """
from xcs_airflow import op, pipeline
from xcs_airflow.errors import XcsError

@op
def load() -> int:
    return 41

@pipeline
def flow(more: int = 1):
    return [load(), more]

if __name__ == "__main__":
    print(flow())
    for make in (flow.graph, flow.code):
        try:
            make()
        except XcsError as error:
            print(error.code, error.findings[0].place)
"""


def test_a_pipeline_in_a_script_runs_but_has_no_graph(write):
    script = write("script.py", SCRIPT)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines() == ["[41, 1]", "XCS105 script.py:9", "XCS105 script.py:9"]


@pytest.mark.parametrize(
    ("weights", "optimize", "hour_usd"),
    [
        ({"cost": 1, "latency": 20}, "balanced", 20),
        ({"cost": 2, "latency": 1}, "balanced", 0.5),
        ({"cost": 1}, "cost", 1),
        ({"latency": 3}, "latency", 1),
    ],
)
def test_weights_say_what_an_hour_is_worth(weights, optimize, hour_usd):
    def flow():
        return 1

    policy = pipeline(optimize=weights)(flow).policy
    assert (policy.optimize, float(policy.hour_usd)) == (optimize, hour_usd)


@pytest.mark.parametrize("weights", [{"cost": 1, "speed": 2}, {"cost": -1, "latency": 1}, {"cost": "much"}])
def test_weights_that_are_none_are_refused(weights):
    def flow():
        return 1

    with pytest.raises(TraceError, match="weights are numbers for cost and latency"):
        pipeline(optimize=weights)(flow)
