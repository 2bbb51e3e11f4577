"""The files for Cloud Run against Google's own definitions, and the README's commands against a shell."""

import json
import os
import re
import subprocess

import pytest
from google.cloud import run_v2, scheduler_v1, workflows_v1
from google.protobuf import json_format

from xcs_airflow.plan import CloudExporter
from xcs_exporters.cloud_run import CloudRunExporter

pytestmark = pytest.mark.real

GPU = {"gpu": 1}


@pytest.fixture(params=[False, True], ids=["variables", "account"])
def bundle(request, any_graph):
    """The bundle of every graph, with and without a known account."""
    account = {"project": "my-project", "region": "europe-west1", "image": "i:1", "service_account": "a@b.iam", "bucket": "my-bucket"}
    return CloudRunExporter().emit(CloudExporter().export(any_graph), account if request.param else {})


def accepted(message, document):
    """What Google's parser, which knows every field, makes of a document."""
    return json_format.MessageToDict(json_format.ParseDict(document, message.pb()()))


def jobs(bundle):
    return {path: json.loads(bundle.files[path]) for path in bundle.files if path.startswith("jobs/")}


def test_jobs_are_resources_of_cloud_run_and_lose_nothing(bundle):
    for job in jobs(bundle).values():
        assert accepted(run_v2.Job, job) == job


def test_jobs_with_gpus_are_resources_too(graph):
    operations = [operation.model_copy(update={"resources": operation.resources.model_copy(update=GPU)}) for operation in graph]
    for job in jobs(CloudRunExporter().emit(CloudExporter().export(graph.replace(operations=operations)), {})).values():
        assert accepted(run_v2.Job, job) == job


def test_schedules_are_resources_of_the_scheduler(bundle):
    if "scheduler.json" in bundle.files:
        schedule = json.loads(bundle.files["scheduler.json"])
        assert accepted(scheduler_v1.Job, schedule) == schedule


def test_overrides_of_the_workflow_are_those_of_a_run(bundle):
    workflow = json.loads(bundle.files["workflow.json"])
    arguments = workflow["run_job"]["steps"][0]["start"]["args"]
    assert accepted(run_v2.RunJobRequest, {"name": arguments["name"], **arguments["body"]})["overrides"] == arguments["body"]["overrides"]


def test_the_source_fits_into_a_workflow(bundle):
    source = bundle.text("workflow.json")
    assert accepted(workflows_v1.Workflow, {"sourceContents": source}) == {"sourceContents": source}


def test_the_parser_refuses_what_is_misspelt(graph):
    job = next(iter(jobs(CloudRunExporter().emit(CloudExporter().export(graph), {})).values()))
    job["template"]["taskCont"] = 1
    with pytest.raises(json_format.ParseError):
        accepted(run_v2.Job, job)


COMMANDS = """#!/bin/sh
printf '%s\\n' "$(basename "$0") $*" >> "$CALLS"
[ "$(basename "$0")" = curl ] && cat > "$CALLS.body$(wc -l < "$CALLS")"
[ "$*" = "auth print-access-token" ] && echo token
exit 0
"""


def test_the_commands_of_the_readme_send_the_files_as_the_account_fills_them(tmp_path, graph, hostile_texts):
    operations = [
        operation.model_copy(update={"env": {"GREETING": "\n".join(hostile_texts[:4] + hostile_texts[7:])}}) for operation in graph
    ]
    bundle = CloudRunExporter().emit(CloudExporter().export(graph.replace(operations=operations)), {})
    for path, content in bundle.files.items():
        (tmp_path / "bundle" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "bundle" / path).write_bytes(content)
    for name in ("gcloud", "curl"):
        (tmp_path / name).write_text(COMMANDS)
        (tmp_path / name).chmod(0o755)
    script = "\n".join(re.findall(r"```sh\n(.*?)```", bundle.text("README.md"), re.DOTALL)).replace("=FILL-IN", "=my-value@x")
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "CALLS": str(tmp_path / "calls")}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path / "bundle", env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    calls = (tmp_path / "calls").read_text().splitlines()
    sent = {call: json.loads((tmp_path / f"calls.body{line}").read_text()) for line, call in enumerate(calls, 1) if call.startswith("curl")}
    assert [body for call, body in sent.items() if "run.googleapis.com/v2/projects/my-value@x/locations" in call] == [
        json.loads(
            bundle.text(path)
            .replace("${XCS_BUCKET}", "my-value@x")
            .replace("${XCS_IMAGE}", "my-value@x")
            .replace("${XCS_SERVICE_ACCOUNT}", "my-value@x")
        )
        for path in sorted(bundle.files)
        if path.startswith("jobs/")
    ]
    assert all(f"jobs/{path.removeprefix('jobs/').removesuffix('.json')}?allowMissing=true" in " ".join(sent) for path in jobs(bundle))
    assert [body["schedule"] for call, body in sent.items() if "cloudscheduler" in call] == ["0 6 * * *"]
    assert any(call.startswith("gcloud workflows deploy small --project my-value@x") for call in calls)
    assert sum(call.startswith("gcloud run jobs delete small--") for call in calls) == 3
