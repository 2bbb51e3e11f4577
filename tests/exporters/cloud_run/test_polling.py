"""Jobs that poll: how the workflow starts them, how long it goes on, and the rules that hold it to that."""

import json

import pytest

from xcs_airflow.errors import UnsupportedError
from xcs_airflow.ir import BatchPolicy, LLMMetadata, LLMOperation, Message, Prompt, Retry
from xcs_airflow.plan import CloudExporter
from xcs_exporters.cloud_run import CloudRunExporter
from xcs_exporters.cloud_run.workflow import levels

WAIT = {"every_s": 60, "longest_s": 900, "at_most_s": 180_000, "attempts": 3}


def ask(name, **fields):
    prompt, metadata = Prompt(messages=(Message(parts=("Hello",)),)), LLMMetadata(model="openai/gpt-4.1-mini")
    return LLMOperation(
        id=name, prompt=prompt, metadata=metadata, batch=BatchPolicy(group=name, mechanism="provider_batch"), source="p.py:1", **fields
    )


def main_steps(files):
    return files["workflow.json"]["main"]["steps"]


def assigned(files):
    return {name: value for entry in main_steps(files)[0]["begin"]["assign"] for name, value in entry.items()}


def job(files, task):
    return next(job for path, job in files.items() if path.startswith("jobs/") and job["annotations"]["xcs/task"] == task)


def test_a_job_that_polls_has_one_task_and_is_tried_again_by_the_workflow_alone(emit, make_plan):
    files = emit(make_plan(ask("ask", shards=4)))
    kinds = {task: job(files, task)["template"] for task in ("ask.submit", "ask.poll", "ask")}
    assert [kinds[task]["taskCount"] for task in kinds] == [4, 1, 4]
    assert [kinds[task]["template"]["maxRetries"] for task in kinds] == [2, 0, 2]


def test_a_level_of_one_poll_is_one_call(emit, make_plan):
    files = emit(make_plan(ask("ask"), name="p"))
    arguments = {name: f"${{{name}}}" for name in ("run", "parameters", "waits", "ends")}
    (name,) = assigned(files)["waits"]
    assert main_steps(files)[2] == {"level_2": {"call": "poll_job", "args": {"job": name, **arguments}}}
    assert assigned(files)["waits"] == {name: WAIT}


def test_polls_wait_side_by_side_after_all_that_needs_no_answer(graphs):
    plan = CloudExporter().export(graphs["batched"]())
    assert [sorted(task.id for task in level) for level in levels(plan.tasks)] == [
        ["greet.submit", "tickets"],
        ["classify.submit", "work"],
        ["classify.poll", "greet.poll"],
        ["classify", "greet"],
        ["report"],
    ]


def test_a_level_of_polls_polls_each(emit, make_plan):
    files = emit(make_plan(ask("first"), ask("second")))
    (each,) = main_steps(files)[2]["level_2"]["parallel"]["for"]["steps"]
    assert each["poll_of_level_2"]["call"] == "poll_job"


@pytest.mark.parametrize(("policy", "ends"), [({}, 31_536_000), ({"deadline_s": 7200.5}, 7201)])
def test_waiting_ends_with_the_deadline_or_after_a_year(emit, make_plan, policy, ends):
    assert assigned(emit(make_plan(ask("ask"), **policy)))["ends"] == f"${{sys.now() + {ends}}}"


def test_a_workflow_without_polls_knows_nothing_of_them(emit, plan):
    assert set(emit(plan)["workflow.json"]) == {"main", "run_job"}
    assert set(assigned(emit(plan))) == {"nothing", "run", "parameters"}


@pytest.mark.parametrize(("polls", "longest_s"), [(8, 900), (9, 1800), (15, 1800), (16, 3600), (29, 3600)])
def test_many_polls_wait_longer_so_that_there_are_steps_for_all(emit, make_plan, polls, longest_s):
    files = emit(make_plan(*(ask(f"ask{number}") for number in range(polls))))
    assert {wait["longest_s"] for wait in assigned(files)["waits"].values()} == {longest_s}


def test_more_polls_than_there_are_steps_for_are_refused(make_plan):
    with pytest.raises(UnsupportedError, match=r"XCS502.*40 provider batches: an execution of a workflow has 100000 steps"):
        CloudRunExporter().emit(make_plan(*(ask(f"ask{number}") for number in range(40))), {})


@pytest.fixture
def broken(make_plan):
    """The ids of broken rules after a change of a file of a bundle that polls, whose job that polls stands in `POLL`."""
    plan = make_plan(ask("ask", retry=Retry(attempts=1)), ask("other"), name="p")
    bundle = CloudRunExporter().emit(plan, {}).with_files({"manifest.json": json.dumps(plan.manifest.to_dict())})
    assert CloudRunExporter().check(bundle) == ()

    def findings(which, change):
        path = next(path for path in bundle.files if which in path)
        document = json.loads(bundle.files[path])
        change(document)
        return {finding.message[:4] for finding in CloudRunExporter().check(bundle.with_files({path: json.dumps(document)}))}

    return findings


def waits(workflow):
    return workflow["main"]["steps"][0]["begin"]["assign"][-1]["waits"]


@pytest.mark.parametrize(
    ("rules", "change"),
    [
        ({"CR29", "CR30"}, lambda flow: waits(flow).clear()),
        ({"CR29", "CR30"}, lambda flow: waits(flow).popitem()),
        ({"CR29"}, lambda flow: next(iter(waits(flow).values())).update(every_s=30, longest_s=30)),
        ({"CR30"}, lambda flow: next(iter(waits(flow).values())).update(at_most_s=80_000)),
        (
            {"CR29"},
            lambda flow: flow["main"]["steps"][2]["level_2"]["parallel"]["for"]["steps"][0]["poll_of_level_2"].update(call="run_job"),
        ),
    ],
)
def test_rules_of_workflows_that_poll(broken, rules, change):
    assert broken("workflow.json", change) - {"CR25"} == rules


@pytest.mark.parametrize(
    "change",
    [
        lambda job: job["template"].update(taskCount=2),
        lambda job: job["template"]["template"].update(maxRetries=1),
        lambda job: job["template"]["template"]["containers"][0]["command"].__setitem__(-1, "ask"),
    ],
)
def test_rules_of_jobs_that_poll(broken, change):
    assert broken("poll", change) == {"CR30"}
