import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xcs_airflow.errors import UnsupportedError
from xcs_airflow.ir import Graph, Operation, Ref, Retry
from xcs_airflow.plan import CloudExporter
from xcs_exporters.cloud_run import CloudRunExporter
from xcs_exporters.cloud_run.workflow import levels


def main_steps(files):
    return files["workflow.json"]["main"]["steps"]


def run_step(files):
    return files["workflow.json"]["run_job"]["steps"][0]["start"]


def chain(length):
    return [Operation(id=f"op{i}", func="a:b", inputs={"x": Ref(operation=f"op{i - 1}")} if i else {}) for i in range(length)]


def test_a_level_of_one_job_is_one_call(plan, emit):
    call = {"call": "run_job", "args": {"job": "small--tickets", "run": "${run}", "parameters": "${parameters}"}}
    assert main_steps(emit(plan))[1] == {"level_1": call}


def test_a_level_of_many_jobs_runs_twenty_at_a_time_and_all_of_them(graphs, emit):
    step = main_steps(emit(CloudExporter().export(graphs["wide"]())))[1]["level_1"]["parallel"]
    assert step["concurrency_limit"] == 20
    assert step["exception_policy"] == "continueAll"
    assert len(step["for"]["in"]) == 30
    call = {"call": "run_job", "args": {"job": "${job}", "run": "${run}", "parameters": "${parameters}"}}
    assert step["for"]["steps"] == [{"job_of_level_1": call}]


def test_the_run_is_the_execution_unless_it_resumes_another(plan, emit):
    begin = main_steps(emit(plan))[0]["begin"]["assign"]
    assert begin[1] == {"run": '${default(map.get(input, "run"), sys.get_env("GOOGLE_CLOUD_WORKFLOW_EXECUTION_ID"))}'}


def test_every_job_is_told_run_and_parameters(plan, emit):
    override = {"args": ["--run", "${run}"], "env": [{"name": "XCS_PARAMS", "value": "${parameters}"}]}
    assert run_step(emit(plan))["args"]["body"] == {"overrides": {"containerOverrides": [override]}}


def test_the_workflow_belongs_to_no_account(plan, emit, account):
    assert emit(plan)["workflow.json"] == emit(plan, **account)["workflow.json"]
    assert "${XCS_" not in json.dumps(emit(plan)["workflow.json"])


def test_the_workflow_waits_until_the_slowest_job_would_have_been_ended(emit, make_plan, operation):
    plan = make_plan(operation("a", timeout_s=100), operation("b", timeout_s=1000, shards=3, retry=Retry(attempts=2)))
    assert run_step(emit(plan))["args"]["connector_params"] == {"timeout": 3 * 2 * (1000 + 600)}


def test_the_workflow_never_waits_longer_than_it_may(emit, make_plan, operation):
    plan = make_plan(operation(timeout_s=604_800, shards=10_000))
    assert run_step(emit(plan))["args"]["connector_params"] == {"timeout": 31_536_000}


def test_a_thousand_jobs_fit_without_line_breaks(emit, make_plan, operation):
    plan = make_plan(*(operation(f"{'long_name_' * 4}{number:04}") for number in range(1000)))
    bundle = CloudRunExporter().emit(plan, {})
    assert len(bundle.files["workflow.json"]) <= 131_072
    assert CloudRunExporter().check(bundle) == ()


def test_a_workflow_that_does_not_fit_is_refused(make_plan):
    with pytest.raises(UnsupportedError, match="the limit is 131,072") as caught:
        CloudRunExporter().emit(make_plan(*chain(1000), name="a-name-of-forty-characters-for-a-pipeline"), {})
    assert caught.value.code == "XCS502"


@given(st.lists(st.sets(st.integers(0, 11), max_size=4), min_size=1, max_size=12))
@settings(max_examples=50)
def test_levels_hold_every_task_once_after_all_it_needs(needs):
    operations = [
        Operation(id=f"op{i}", func="a:b", inputs={str(n): Ref(operation=f"op{n}") for n in wanted if n < i})
        for i, wanted in enumerate(needs)
    ]
    tasks = CloudExporter().export(Graph(operations)).tasks
    level_of = {task.id: number for number, level in enumerate(levels(tasks)) for task in level}
    assert len(level_of) == sum(len(level) for level in levels(tasks)) == len(tasks)
    assert all(level_of[need] < level_of[task.id] for task in tasks for need in task.needs)
