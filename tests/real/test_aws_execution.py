"""The emitted state machine run by moto's interpreter of Amazon States Language, and its jobs by the real runtime."""

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field

import boto3
import pytest
from botocore.session import get_session
from moto import mock_aws
from moto.batch.models import Job
from moto.batch_simple.models import BatchSimpleBackend
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service import StateTaskService

from xcs_airflow.canonical import pretty_json
from xcs_airflow.ir import Graph, Operation, Parameter, ParameterSpec, Ref
from xcs_airflow.plan import CloudExporter
from xcs_airflow.runtime import RuntimeSettings, read_output
from xcs_exporters.aws_batch import AwsBatchExporter
from xcs_exporters.aws_batch.polling import EVENTS_PER_POLL, EVENTS_PER_TASK

from .probed import GONE, OUTPUT, SHARDS, forget_one, probed_plan, results
from .slow_batches import at_once, batched, slow_batches

pytestmark = pytest.mark.real

CODE = """
import os

def words():
    return [f"word {number}" for number in range(9)]

def say(answers):
    return " ".join(answers)

def numbers(count):
    return list(range(count))

def greet(number, greeting):
    return f"{greeting} {number} in {os.environ['GREETING']}"

def loud(text):
    return text.upper()

def soft(text):
    return text.lower()

def join(shouted, whispered):
    return [*shouted, *whispered]

def fail(number, greeting):
    raise ValueError("never")
"""

TEXT = "${StoreUri} 'Ref::task' $(id)"


def pipeline(**changes):
    """numbers -> 3 shards of greetings -> (loud, soft) -> join."""
    operations = [
        Operation(id="numbers", func="pipeline:numbers", inputs={"count": Parameter(parameter="count")}),
        Operation(
            id="greet",
            func="pipeline:greet",
            inputs={"number": Ref(operation="numbers"), "greeting": Parameter(parameter="greeting")},
            map_over=("number",),
            shards=3,
            env={"GREETING": TEXT},
        ),
        Operation(id="loud", func="pipeline:loud", inputs={"text": Ref(operation="greet")}, map_over=("text",), shards=3),
        Operation(id="soft", func="pipeline:soft", inputs={"text": Ref(operation="greet")}, map_over=("text",), shards=3),
        Operation(id="join", func="pipeline:join", inputs={"shouted": Ref(operation="loud"), "whispered": Ref(operation="soft")}),
    ]
    parameters = [ParameterSpec(name="count"), ParameterSpec(name="greeting", has_default=True, default="Hello")]
    return Graph([op.model_copy(update=changes.get(op.id, {})) for op in operations], name="p", parameters=parameters)


@dataclass
class Account:
    """An account in which a bundle is deployed by hand, as its template would.

    Attributes:
        machine: ARN of the state machine.
        execution: ARN of what was started last.
        values: Every variable of the files.
        jobs: What was run: task and shard, in order.
    """

    machine: str = ""
    execution: str = ""
    values: dict[str, str] = field(default_factory=dict)
    jobs: list[tuple[str, str]] = field(default_factory=list)

    def filled(self, text):
        """A file with its variables filled in."""
        for name, value in self.values.items():
            text = text.replace(f"${{{name}}}", value)
        return text

    def run(self, parameters, name="run-1"):
        """The end of an execution."""
        client = boto3.client("stepfunctions")
        self.execution = client.start_execution(stateMachineArn=self.machine, name=name, input=json.dumps(parameters))["executionArn"]
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            execution = client.describe_execution(executionArn=self.execution)
            if execution["status"] != "RUNNING":
                return execution["status"]
            threading.Event().wait(0.1)
        raise TimeoutError

    @property
    def history(self):
        """The names and types of all that happened, in order."""
        pages = boto3.client("stepfunctions").get_paginator("get_execution_history").paginate(executionArn=self.execution)
        return [event["type"] for page in pages for event in page["events"]]


@pytest.fixture(autouse=True)
def _moto_that_submits_jobs(monkeypatch):
    """moto 5.2.5 leaves the names of parameters to stubs, so submitJob fails for want of `jobName`: getmoto/moto#10076."""
    models = get_session()

    def operation(service, action):
        model = models.get_service_model(service._get_boto_service_name(None))
        wanted = (action or service.resource.api_action).replace("_", "").lower()
        return next(model.operation_model(name) for name in model.operation_names if name.lower() == wanted)

    def to_request(self, parameters, boto_service_name=None, service_action_name=None):
        self._to_boto_request(parameters, operation(self, service_action_name).input_shape)

    def from_response(self, response, boto_service_name=None, service_action_name=None):
        self._from_boto_response(response, operation(self, service_action_name).output_shape)

    monkeypatch.setattr(StateTaskService, "_normalise_parameters", to_request)
    monkeypatch.setattr(StateTaskService, "_normalise_response", from_response)
    for name, value in {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def account(monkeypatch):
    """moto's account; its jobs run the commands of their definitions, with what Batch would fill in."""
    account, lock = Account(), threading.Lock()
    submit = BatchSimpleBackend.submit_job

    def submit_and_run(backend, job_name, job_def_id, job_queue, array_properties, **rest):
        with lock:
            properties = backend.get_job_definition(job_def_id).container_properties
            parameters = rest["parameters"]
            codes = [
                _run(properties, parameters, index, account) for index in (range(array_properties["size"]) if array_properties else [None])
            ]
            monkeypatch.delenv("MOTO_SIMPLE_BATCH_FAIL_AFTER", raising=False)
            if any(codes):
                monkeypatch.setenv("MOTO_SIMPLE_BATCH_FAIL_AFTER", "0")
            name, job, arn = submit(backend, job_name, job_def_id, job_queue, array_properties, **rest)
            if not array_properties:
                backend._jobs[job].exit_code = codes[0]
            return name, job, arn

    details = Job._container_details

    def details_with_exit_code(job):
        return {**details(job), **({} if job.exit_code is None else {"exitCode": job.exit_code})}

    # moto describes containers without it; Batch does not tell it of an array.
    monkeypatch.setattr(Job, "_container_details", details_with_exit_code)
    monkeypatch.setattr(BatchSimpleBackend, "submit_job", submit_and_run)
    with mock_aws(config={"batch": {"use_docker": False}, "stepfunctions": {"execute_state_machine": True}}):
        yield account


def _run(properties, parameters, index, account):
    """Start one job as a process of this computer; its exit code."""
    command = [sys.executable, *properties["command"][1:]]
    for name, value in parameters.items():
        command = [value if word == f"Ref::{name}" else word for word in command]
    manifest = command.index("/opt/xcs/manifest.json")
    command[manifest] = account.values["Manifest"]
    environ = {entry["name"]: entry["value"] for entry in properties["environment"]}
    shard = {} if index is None else {"AWS_BATCH_JOB_ARRAY_INDEX": str(index)}
    account.jobs.append((parameters["task"], shard.get("AWS_BATCH_JOB_ARRAY_INDEX", "")))
    path = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(command, env={**path, **environ, **shard}, check=False, timeout=60).returncode


def deploy(graph, account, folder, plan=None, **env):
    """Put a bundle into the account."""
    plan = plan or CloudExporter().export(graph)
    bundle = AwsBatchExporter().emit(plan, {"env": env})
    (folder / "code").mkdir()
    (folder / "code" / "pipeline.py").write_text(CODE, encoding="utf-8")
    (folder / "manifest.json").write_text(pretty_json(plan.manifest.to_dict()), encoding="utf-8")
    role = boto3.client("iam").create_role(RoleName="any", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    queue = _queue(role)
    account.values = {
        "Manifest": str(folder / "manifest.json"),
        "StoreUri": (folder / "store").as_uri(),
        "SubmitJob": "arn:aws:states:::batch:submitJob.sync",
        **dict.fromkeys(("JobQueue", "G6JobQueue"), queue),
        "JobRole.Arn": role,
        "ExecutionRole.Arn": role,
        "LogGroup": "logs",
        "AssignPublicIp": "ENABLED",
        "ImageUri": "image:1",
    }
    for path in sorted(bundle.files):
        if path.startswith("job-definitions/"):
            request = json.loads(account.filled(bundle.text(path)).replace("${!", "${"))
            variable = f"JobDefinition{request['jobDefinitionName'].rpartition('-')[2]}"
            account.values[variable] = boto3.client("batch").register_job_definition(**request)["jobDefinitionArn"]
    definition = account.filled(bundle.text("state-machine.asl.json"))
    account.machine = boto3.client("stepfunctions").create_state_machine(name="p", definition=definition, roleArn=role)["stateMachineArn"]


def _queue(role):
    ec2, batch = boto3.client("ec2"), boto3.client("batch")
    network = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=network, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="g", Description="g", VpcId=network)["GroupId"]
    resources = {"type": "FARGATE", "maxvCpus": 16, "subnets": [subnet], "securityGroupIds": [group]}
    batch.create_compute_environment(computeEnvironmentName="environment", type="MANAGED", computeResources=resources, serviceRole=role)
    order = [{"order": 1, "computeEnvironment": "environment"}]
    return batch.create_job_queue(jobQueueName="queue", state="ENABLED", priority=1, computeEnvironmentOrder=order)["jobQueueArn"]


def stored(folder):
    """Everything in the store, as one text."""
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted((folder / "store").rglob("*")) if path.is_file())


def test_a_pipeline_runs_to_its_result(account, tmp_path):
    deploy(pipeline(), account, tmp_path)
    assert account.run({"count": 5, "greeting": 'Hi "you" $(id)'}) == "SUCCEEDED"
    tasks = [task for task, _ in account.jobs]
    assert tasks[:4] == ["numbers", "greet", "greet", "greet"]
    assert sorted(tasks[4:-1]) == [*["loud"] * 3, *["soft"] * 3]
    assert tasks[-1] == "join"
    assert [shard for task, shard in account.jobs if task == "greet"] == ["0", "1", "2"]
    greeting = f'Hi "you" $(id) 4 in {TEXT}'
    assert all(json.dumps(text) in stored(tmp_path) for text in (greeting, greeting.upper(), greeting.lower()))


def test_a_task_that_fails_fails_the_run_and_nothing_follows(account, tmp_path):
    deploy(pipeline(greet={"func": "pipeline:fail", "shards": 1}), account, tmp_path)
    assert account.run({"count": 5}) == "FAILED"
    assert account.jobs == [("numbers", ""), ("greet", "")]


@pytest.fixture
def provider():
    with slow_batches(looks=3) as server:
        yield server


def deploy_batched(account, folder, provider, *, waits):
    plan = at_once(CloudExporter().export(batched()), waits)
    models = {"openai": {"endpoint": provider.url}}
    deploy(None, account, folder, plan, XCS_MODELS=json.dumps(models))
    return plan


def test_a_run_waits_for_the_batches_of_a_provider_and_leaves_the_events_that_are_counted_on(account, tmp_path, provider):
    plan = deploy_batched(account, tmp_path, provider, waits=4)
    assert account.run({}) == "SUCCEEDED"
    shards = ["0", "1", "2"]
    polls = [("ask.poll", "")] * provider.looks
    assert account.jobs == [
        ("words", ""),
        *(("ask.submit", shard) for shard in shards),
        *polls,
        *(("ask", shard) for shard in shards),
        ("say", ""),
    ]
    output = read_output(plan.manifest, run_id="run-1", settings=RuntimeSettings(store=(tmp_path / "store").as_uri()))
    assert output == " ".join(f"ABOUT WORD {number}" for number in range(9))
    assert len(provider.prompts) == 9
    jobs, polls = len({task for task, _ in account.jobs}), provider.looks - 1
    assert account.history.count("WaitStateEntered") == polls
    assert len(account.history) <= EVENTS_PER_TASK * jobs + EVENTS_PER_POLL * polls + 4 + 2 + 2 + 2 * polls


def test_a_poll_that_fails_for_good_fails_the_run_at_its_job(account, tmp_path, provider):
    deploy_batched(account, tmp_path, provider, waits=4)
    provider.batches_are_gone = True
    assert account.run({}) == "FAILED"
    assert [task for task, _ in account.jobs][-2:] == ["ask.poll"] * 2
    assert "WaitStateEntered" not in account.history


def test_a_provider_that_takes_too_long_fails_the_run(account, tmp_path, provider):
    deploy_batched(account, tmp_path, provider, waits=2)
    provider.looks = 100
    assert account.run({}) == "FAILED"
    assert [task for task, _ in account.jobs if task == "ask.poll"] == ["ask.poll"] * 4
    assert account.jobs[-1] == ("ask.poll", "")


def test_a_task_is_not_started_when_its_probe_finds_all_answers_and_asks_only_for_the_one_that_is_gone(account, tmp_path, counting):
    """The GPU is a field of the job definition, whose job is a process here as all others are."""
    plan, store = probed_plan("aws-batch"), tmp_path / "store"
    deploy(None, account, tmp_path, plan, XCS_MODELS=json.dumps({"openai": {"endpoint": f"{counting.url}/v1"}}))
    counting.reset()
    started = [("ask", str(shard)) for shard in range(SHARDS)]
    jobs, asked = [], []
    for run in ("run-1", "run-2", "run-3"):
        if run == "run-3":
            forget_one(f"{store.as_uri()}/cache")
        account.jobs.clear()
        before = counting.counts().answered
        assert account.run({}, run) == "SUCCEEDED"
        jobs.append(list(account.jobs))
        asked.append(dict(counting.counts().answered - before))
    assert jobs[0] == [("words", ""), ("ask.probe", ""), *started, ("say", ""), ("title.probe", ""), ("title", "")]
    assert jobs[1] == [("words", ""), ("ask.probe", ""), ("say", ""), ("title.probe", "")]
    assert jobs[2] == [("words", ""), ("ask.probe", ""), *started, ("say", ""), ("title.probe", "")]
    assert [len(asked[0]), asked[1], asked[2]] == [10, {}, {GONE: 1}]
    assert results(store, "run-1") == results(store, "run-2") == results(store, "run-3")
    outputs = [read_output(plan.manifest, run_id=f"run-{n}", settings=RuntimeSettings(store=store.as_uri())) for n in (1, 2, 3)]
    assert outputs == [OUTPUT] * 3


def test_a_probe_that_breaks_fails_no_run(account, tmp_path, counting):
    """Its task is started, and says what is wrong if anything is."""
    plan = probed_plan("aws-batch")
    deploy(None, account, tmp_path, plan, XCS_MODELS=json.dumps({"openai": {"endpoint": f"{counting.url}/v1"}}))
    manifest = plan.manifest.to_dict()
    manifest["tasks"] = [task for task in manifest["tasks"] if task.get("kind") != "probe"]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    assert account.run({}) == "SUCCEEDED"
    assert [task for task, _ in account.jobs] == ["words", "ask.probe", *["ask"] * SHARDS, "say", "title.probe", "title"]
