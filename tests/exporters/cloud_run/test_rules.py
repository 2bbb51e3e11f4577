import json
import re

import pytest

from xcs_airflow.exporting.bundle import Bundle
from xcs_exporters.cloud_run import CloudRunExporter
from xcs_exporters.cloud_run.rules import RULES

JOB = "jobs/small--tickets.json"


def template(job):
    return job["template"]["template"]


def container(job):
    return template(job)["containers"][0]


def limits(job):
    return container(job)["resources"]["limits"]


def environment(*entries):
    return lambda job: container(job)["env"].extend(entries)


def set_limits(**values):
    return lambda job: limits(job).update(values)


def gpu(kind="nvidia-l4", cpu="4", memory="16384Mi", timeout="600s", *, redundancy=True):
    def change(job):
        limits(job).update({"cpu": cpu, "memory": memory, "nvidia.com/gpu": "1"})
        template(job).update({"nodeSelector": {"accelerator": kind}, "timeout": timeout, "gpuZonalRedundancyDisabled": redundancy})

    return change


def secret(**reference):
    return {"valueSource": {"secretKeyRef": reference}}


BROKEN_JOBS = [
    ("CR02", lambda job: template(job)["containers"].append({})),
    ("CR02", lambda job: container(job).pop("image")),
    ("CR02", lambda job: container(job).update(command="python -m x")),
    ("CR02", lambda job: container(job).update(command=[])),
    ("CR03", lambda job: job["template"].update(taskCount=0)),
    ("CR03", lambda job: job["template"].update(taskCount=10_001)),
    ("CR03", lambda job: job["template"].update(taskCount="4")),
    ("CR04", lambda job: template(job).pop("maxRetries")),
    ("CR04", lambda job: template(job).update(maxRetries=11)),
    ("CR05", lambda job: template(job).pop("timeout")),
    ("CR05", lambda job: template(job).update(timeout="15m")),
    ("CR05", lambda job: template(job).update(timeout="604801s")),
    ("CR06", set_limits(cpu="0.5")),
    ("CR06", set_limits(cpu="3")),
    ("CR06", set_limits(memory="256Mi")),
    ("CR06", set_limits(memory="8192Mi")),
    ("CR06", set_limits(memory="1Gi")),
    ("CR07", gpu(kind="a100")),
    ("CR07", gpu(cpu="2", memory="8192Mi")),
    ("CR07", gpu(timeout="3601s")),
    ("CR07", gpu(redundancy=False)),
    ("CR08", environment({"name": "A", "value": "1"}, {"name": "A", "value": "2"})),
    ("CR08", environment({"name": "A"})),
    ("CR08", environment({"name": "A", "value": "1", **secret(secret="s", version="1")})),
    ("CR08", environment({"name": "CLOUD_RUN_TASK_INDEX", "value": "1"})),
    ("CR08", environment({"name": "A B", **secret(secret="s", version="1")})),
    ("CR08", environment({"name": "OPENAI_API_KEY", "value": "x"})),
    ("CR08", environment({"name": "A", "value": "x" * 32_769})),
    ("CR09", environment({"name": "A", "value": f"sk-{'x' * 40}"})),
    ("CR09", environment({"name": "A", "value": "-----BEGIN PRIVATE KEY-----"})),
    ("CR10", lambda job: job["labels"].update(Team="x")),
    ("CR10", lambda job: job["labels"].update(team="X")),
    ("CR10", lambda job: job["labels"].update({f"l{number}": "" for number in range(64)})),
    ("CR11", lambda job: job["annotations"].update({"run.googleapis.com/x": ""})),
    ("CR11", lambda job: job["annotations"].update({"serving.knative.dev/x": ""})),
]


@pytest.mark.parametrize(("rule", "change"), BROKEN_JOBS)
def test_a_broken_job_breaks_its_rule(bundle, changed, rule, change):
    assert changed(bundle, JOB, change) == [(rule, JOB)]


def test_a_job_without_a_container_breaks_many(bundle, changed):
    broken = changed(bundle, JOB, lambda job: template(job).pop("containers"))
    assert broken == [("CR02", JOB), ("CR02", JOB), ("CR02", JOB), ("CR06", JOB)]


def test_a_whole_gpu_job_breaks_none(bundle, changed):
    assert changed(bundle, JOB, gpu()) == []


@pytest.mark.parametrize("name", ["Upper", "under_score", "-dash", "dash-", "9", "x" * 64])
def test_names_of_jobs_are_checked(bundle, name):
    files = {path.replace("small--tickets", name): content for path, content in bundle.files.items()}
    files["workflow.json"] = files["workflow.json"].replace(b'"small--tickets"', json.dumps(name).encode())
    (finding,) = CloudRunExporter().check(Bundle(files))
    assert finding.message == f"CR01: the name {name!r} is not allowed"


def steps(workflow):
    return workflow["main"]["steps"]


BROKEN_WORKFLOWS = [
    ("CR21", lambda flow: flow["main"].update(description="x" * 131_072)),
    ("CR22", lambda flow: steps(flow).append({"more": {"cal": "run_job"}})),
    ("CR22", lambda flow: steps(flow).append({"more": {"call": "sys.log", "retun": 1}})),
    ("CR22", lambda flow: steps(flow).append({"more": {"call": "sys.log", "return": 1}})),
    ("CR22", lambda flow: flow.update(mein=flow.pop("main"))),
    ("CR23", lambda flow: steps(flow).append({"level_1": {"return": 1}})),
    ("CR24", lambda flow: steps(flow).append({"more": {"next": "nowhere"}})),
    ("CR24", lambda flow: flow["run_job"]["steps"][1]["count"]["switch"][0].update(next="level_1")),
    ("CR25", lambda flow: steps(flow).append({"more": {"call": "run_jobs"}})),
    ("CR25", lambda flow: flow["run_job"]["params"].append("more")),
    ("CR26", lambda flow: steps(flow).append({"more": {"return": "${" + "x" * 401 + "}"}})),
    ("CR27", lambda flow: steps(flow).append({"more": {"parallel": {"branches": [{f"b{n}": {"steps": []}} for n in range(11)]}}})),
    (
        "CR27",
        lambda flow: steps(flow).append({"more": {"parallel": {"concurrency_limit": 21, "for": {"value": "x", "in": [], "steps": []}}}}),
    ),
    ("CR27", lambda flow: steps(flow).append({"more": {"parallel": {"branches": [{"parallel": {"branches": [{"parallel": {}}]}}]}}})),
    ("CR27", lambda flow: steps(flow).append({"more": {"assign": [{f"v{n}": n} for n in range(51)]}})),
    ("CR28", lambda flow: steps(flow).pop(1)),
    ("CR28", lambda flow: steps(flow)[1]["level_1"]["args"].update(job="small--other")),
    ("CR28", lambda flow: steps(flow).insert(2, {"again": steps(flow)[1]["level_1"]})),
]


@pytest.mark.parametrize(("rule", "change"), BROKEN_WORKFLOWS)
def test_a_broken_workflow_breaks_its_rule(bundle, changed, rule, change):
    assert (rule, "workflow.json") in changed(bundle, "workflow.json", change)


@pytest.mark.parametrize(
    "change",
    [
        lambda schedule: schedule.update(schedule="@daily"),
        lambda schedule: schedule.update(description="x" * 501),
        lambda schedule: schedule["httpTarget"].update(uri="http://example.com"),
    ],
)
def test_a_broken_schedule_breaks_its_rule(bundle, changed, change):
    assert ("CR31", "scheduler.json") in changed(bundle, "scheduler.json", change)


def test_too_many_jobs_break_a_rule(bundle):
    files = {f"jobs/j{number}.json": bundle.files[JOB] for number in range(1000)}
    assert "CR12: there are 1003 jobs" in [finding.message for finding in CloudRunExporter().check(bundle.with_files(files))]


def test_a_variable_without_a_meaning_breaks_a_rule(bundle):
    assert "CR32" in {f.message[:4] for f in CloudRunExporter().check(bundle.with_files({"variables.json": "{}"}))}


def test_a_dollar_sign_that_is_no_variable_breaks_a_rule(bundle):
    text = bundle.text(JOB).replace('"tickets"', '"$(id)"', 1)
    assert "CR32" in {finding.message[:4] for finding in CloudRunExporter().check(bundle.with_files({JOB: text}))}


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"a": 1, "a": 2}', b"\xff", b'{"a": NaN}'])
@pytest.mark.parametrize("path", [JOB, "workflow.json", "scheduler.json"])
def test_files_that_are_no_objects_are_one_finding(bundle, path, content):
    (finding,) = CloudRunExporter().check(bundle.with_files({path: content}))
    assert finding.message.startswith("CR00: ")
    assert finding.place == path


JUNK = [None, 1, "x", [], [1], {}, {"x": 1}]


@pytest.mark.parametrize("junk", JUNK)
def test_no_junk_stops_the_rules(bundle, junk):
    for path in (JOB, "workflow.json", "scheduler.json"):
        for place in places(json.loads(bundle.files[path])):
            document = json.loads(bundle.files[path])
            put(document, place, junk)
            CloudRunExporter().check(bundle.with_files({path: json.dumps(document)}))


def places(node, path=()):
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield (*path, key)
        yield from places(value, (*path, key))


def put(document, place, value):
    for key in place[:-1]:
        document = document[key]
    document[place[-1]] = value


def test_rules_have_names_of_their_own_and_sources():
    assert len({rule.id for rule in RULES}) == len(RULES)
    assert all(re.fullmatch(r"(https://cloud\.google\.com/\S+)?", rule.source) for rule in RULES)


def test_every_rule_is_broken_by_a_test():
    elsewhere = {"CR29", "CR30", "CR33"}  # test_polling.py, test_probing.py
    tested = {rule for rule, _ in [*BROKEN_JOBS, *BROKEN_WORKFLOWS]} | {"CR01", "CR12", "CR31", "CR32"} | elsewhere
    assert tested == {rule.id for rule in RULES}
