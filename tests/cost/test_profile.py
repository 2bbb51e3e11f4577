"""The document of measurements: merged in any order, small, and refused when it is something else."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cost.measured import run
from xcs_airflow.cost.distribution import Distribution
from xcs_airflow.cost.figures import Figure, Money
from xcs_airflow.cost.profile import MOST_RUNS, Expectation, OperationRun, PipelineProfile, Profile, RunProfile
from xcs_airflow.errors import PlanError

NAMES = [f"run-{number}" for number in range(15)]


def measured(name):
    """A run and what it measured; the same for the same name."""
    number = NAMES.index(name)
    did = OperationRun(model="m/x", shape="s", rows=number, calls=number, input_tokens=Distribution.of(range(number)))
    return run(name, f"2026-11-{number + 1:02}T00:00:00Z", ask=did)


PROFILES = st.dictionaries(st.sampled_from("ab"), st.lists(st.sampled_from(NAMES), max_size=15), max_size=2).map(
    lambda found: Profile(pipelines={name: PipelineProfile(runs=tuple(map(measured, runs))) for name, runs in found.items()})
)


@given(PROFILES, PROFILES, PROFILES)
def test_it_does_not_matter_in_which_order_profiles_are_merged(first, second, third):
    assert first.merged(second).to_json() == second.merged(first).to_json()
    assert first.merged(second).merged(third).to_json() == first.merged(second.merged(third)).to_json()
    assert first.merged(first).to_json() == first.to_json()


def test_the_same_run_counts_once_and_its_later_books_win():
    early, late = measured("run-3"), measured("run-3").model_copy(update={"ended": "2026-11-05T00:00:00Z"})
    found = PipelineProfile(runs=(late,)).merged(PipelineProfile(runs=(early, late)))
    assert found.runs == (late,)


def test_what_had_been_expected_of_a_run_is_not_lost_to_books_without_it():
    nothing = Figure.exactly(1)
    expected = Expectation(calls=nothing, input_tokens=nothing, output_tokens=nothing, cost_usd=Money(), seconds=nothing)
    told = measured("run-3").model_copy(update={"expected_total": expected})
    assert PipelineProfile(runs=(told, measured("run-3"))).runs == (told,)


def test_the_newest_runs_are_kept():
    found = PipelineProfile(runs=tuple(map(measured, reversed(NAMES))))
    assert [each.run_id for each in found.runs] == NAMES[-MOST_RUNS:]
    assert found.last.run_id == NAMES[-1]


def test_a_file_keeps_other_pipelines_and_runs(tmp_path):
    file = tmp_path / "sub" / "profile.json"
    assert Profile.load(file) == Profile()
    Profile.of_run("a", measured("run-1")).add_to(file)
    Profile.of_run("b", measured("run-2")).add_to(file)
    Profile.of_run("a", measured("run-3")).add_to(file)
    found = Profile.load(file)
    assert {name: [each.run_id for each in of.runs] for name, of in found.pipelines.items()} == {"a": ["run-1", "run-3"], "b": ["run-2"]}
    assert file.read_text() == found.to_json()
    assert [path.name for path in file.parent.iterdir()] == ["profile.json"]


def test_a_profile_survives_its_json_form():
    did = OperationRun(model="m/x", shape="s", cost_usd=Decimal("0.000012"), call_ms=Distribution.of([120, 1304]), items=3, busy_ms=0)
    whole = Profile.of_run("p", RunProfile(run_id="r", ended="2026-11-22T10:00:00Z", seconds=1.25, operations={"ask": did}))
    assert Profile.model_validate(json.loads(whole.to_json())) == whole


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("no", "Expecting value"),
        ('{"schema_version": 2}', "schema_version"),
        ('{"pipelines": {"p": {"runs": [{"run_id": "r", "ended": "today"}]}}}', "pipelines.p.runs.0.ended"),
    ],
)
def test_what_is_no_profile_is_refused(tmp_path, text, reason):
    file = tmp_path / "profile.json"
    file.write_text(text)
    with pytest.raises(PlanError, match=reason) as caught:
        Profile.load(file)
    assert caught.value.code == "XCS406"
    with pytest.raises(PlanError):
        Profile.of_run("a", measured("run-1")).add_to(file)
    assert file.read_text() == text
