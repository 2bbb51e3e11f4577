"""Jobs that are probed: in which level they run, who asks their probes, and the rules that hold the workflow to that."""

import json

import pytest

from xcs_airflow.plan import CloudExporter
from xcs_exporters.cloud_run import CloudRunExporter
from xcs_exporters.cloud_run.workflow import levels


@pytest.fixture
def probed(graphs):
    """The plan of a pipeline with two tasks that are probed, one after the other."""
    return CloudExporter().export(graphs["probed"]())


def main_steps(files):
    return files["workflow.json"]["main"]["steps"]


def assigned(flow):
    return {name: value for entry in flow["main"]["steps"][0]["begin"]["assign"] for name, value in entry.items()}


def test_a_probe_runs_in_the_level_of_its_task(probed):
    assert [sorted(task.id for task in level) for level in levels(probed.tasks)] == [
        ["tickets"],
        ["classify", "work"],
        ["answer"],
        ["report"],
    ]


def test_the_job_of_a_probe_has_one_task_and_is_tried_once_as_its_task_is_not(emit, probed):
    jobs = {job["annotations"]["xcs/task"]: job["template"] for path, job in emit(probed).items() if path.startswith("jobs/")}
    assert [jobs[task]["taskCount"] for task in ("classify.probe", "classify")] == [1, 3]
    assert [jobs[task]["template"]["maxRetries"] for task in ("classify.probe", "classify")] == [0, 2]
    secrets = [jobs[task]["template"]["containers"][0]["env"] for task in ("classify.probe", "classify")]
    assert secrets[0] == secrets[1]


def test_a_level_with_one_job_that_is_probed_asks_it_and_one_with_others_asks_for_each_whether_it_has_a_probe(emit, probed):
    files = emit(probed)
    names = {job["annotations"]["xcs/task"]: path[5:-5] for path, job in files.items() if path.startswith("jobs/")}
    arguments = {name: f"${{{name}}}" for name in ("run", "parameters", "probes")}
    assert main_steps(files)[3] == {"level_3": {"call": "probe_job", "args": {"job": names["answer"], **arguments}}}
    each = main_steps(files)[2]["level_2"]["parallel"]["for"]
    assert each["steps"] == [{"probe_of_level_2": {"call": "probe_job", "args": {"job": "${job}", **arguments}}}]
    assert sorted(each["in"]) == sorted([names["classify"], names["work"]])
    assert assigned(files["workflow.json"])["probes"] == {names[task]: names[f"{task}.probe"] for task in ("classify", "answer")}


def test_a_workflow_without_probes_knows_nothing_of_them(emit, plan):
    assert set(emit(plan)["workflow.json"]) == {"main", "run_job"}
    assert "probes" not in assigned(emit(plan)["workflow.json"])


@pytest.fixture
def broken(probed):
    """The ids of broken rules after a change of a file of a bundle with probes."""
    bundle = CloudRunExporter().emit(probed, {}).with_files({"manifest.json": json.dumps(probed.manifest.to_dict())})
    assert CloudRunExporter().check(bundle) == ()

    def findings(which, change):
        path = next(path for path in bundle.files if which in path)
        document = json.loads(bundle.files[path])
        change(document)
        return {finding.message[:4] for finding in CloudRunExporter().check(bundle.with_files({path: json.dumps(document)}))}

    return findings


def exchanged(flow):
    """Each job is spared by the probe of the other."""
    probes = assigned(flow)["probes"]
    probes.update(dict(zip(probes, reversed(probes.values()), strict=True)))


@pytest.mark.parametrize(
    ("rules", "change"),
    [
        ({"CR33"}, exchanged),
        ({"CR28", "CR33"}, lambda flow: assigned(flow)["probes"].popitem()),
        ({"CR33"}, lambda flow: flow["main"]["steps"][3]["level_3"].update(call="run_job")),
        ({"CR24"}, lambda flow: flow["probe_job"]["steps"][3]["judge"]["switch"][0].update(next="nowhere")),
        ({"CR25"}, lambda flow: flow["probe_job"]["steps"][2]["probe_it"]["try"]["steps"][0]["look"]["args"].pop("run")),
    ],
)
def test_rules_of_workflows_that_probe(broken, rules, change):
    assert rules <= broken("workflow.json", change) <= rules | {"CR25"}


@pytest.mark.parametrize(
    "change", [lambda job: job["template"].update(taskCount=2), lambda job: job["template"]["template"].update(maxRetries=1)]
)
def test_rules_of_jobs_that_probe(broken, change):
    assert broken("--classify-probe", change) == {"CR33"}
