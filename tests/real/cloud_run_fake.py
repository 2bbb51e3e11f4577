"""A Cloud Run on loopback: Google's own protocol and client in front, local processes as containers behind.

It knows jobs, executions, tasks, overrides, retries and the variables a container finds; images and permissions it does not know.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import uuid
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc
from google.cloud import run_v2
from google.cloud.run_v2.services.executions.transports import ExecutionsGrpcTransport
from google.cloud.run_v2.services.jobs.transports import JobsGrpcTransport
from google.cloud.run_v2.services.tasks.transports import TasksGrpcTransport
from google.longrunning import operations_pb2
from google.protobuf import json_format

from .workflows_language import Workflow

PLACE = "projects/my-project/locations/europe-west1"


@dataclass
class FakeCloudRun:
    """The server's state.

    Attributes:
        image: What stands at the image's folder: every word of a command that begins with the key begins with the value instead.
        secrets: Name in Secret Manager to value.
        jobs: Deployed jobs by full name.
        log: Job and task index of every container that was started, with its exit code.
    """

    image: dict[str, str]
    secrets: dict[str, str]
    jobs: dict[str, object] = field(default_factory=dict)
    operations: dict[str, object] = field(default_factory=dict)
    executions: dict[str, object] = field(default_factory=dict)
    tasks: dict[str, list[object]] = field(default_factory=dict)
    log: list[tuple[str, int, int]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def update_job(self, request, _context):
        self.jobs[request.job.name] = request.job
        return self._operation(request.job)

    def run_job(self, request, context):
        if request.name not in self.jobs:
            context.abort(grpc.StatusCode.NOT_FOUND, request.name)
        job = self.jobs[request.name]
        execution = run_v2.Execution.pb()(name=f"{request.name}/executions/{uuid.uuid4().hex[:5]}", task_count=job.template.task_count)
        with self.lock:
            self.executions[execution.name], self.tasks[execution.name] = execution, []
        operation = self._operation(execution, done=False)
        threading.Thread(target=self._execute, args=(job, request.overrides, execution, operation.name)).start()
        return operation

    def get_operation(self, request, _context):
        with self.lock:
            return self.operations[request.name]

    def get_execution(self, request, _context):
        with self.lock:
            return self.executions[request.name]

    def list_tasks(self, request, _context):
        with self.lock:
            return run_v2.ListTasksResponse.pb()(tasks=self.tasks[request.parent])

    def _operation(self, result, *, done=True, name=None):
        operation = operations_pb2.Operation(name=name or f"{PLACE}/operations/{uuid.uuid4()}", done=done)
        operation.metadata.Pack(result)
        if done:
            operation.response.Pack(result)
        with self.lock:
            self.operations[operation.name] = operation
        return operation

    def _execute(self, job, overrides, execution, name):
        for index in range(job.template.task_count):
            code = self._task(job, overrides, index)
            task = run_v2.Task.pb()(name=f"{execution.name}/tasks/{index}", index=index)
            # A container that a signal ended told no code.
            task.last_attempt_result.exit_code = max(code, 0)
            with self.lock:
                self.tasks[execution.name].append(task)
                execution.succeeded_count += code == 0
                execution.failed_count += code != 0
        with self.lock:
            execution.completion_time.GetCurrentTime()
        # As has been reported, the operation of a failed execution carries no error: only the counts tell.
        self._operation(execution, name=name)

    def _task(self, job, overrides, index):
        """Start a container until it ends well or its retries are used up; gives the last exit code."""
        (container,) = job.template.template.containers
        arguments, variables = list(container.args), {entry.name: self._value(entry) for entry in container.env}
        for override in overrides.container_overrides:
            arguments = list(override.args) or arguments
            variables |= {entry.name: entry.value for entry in override.env}
        for attempt in range(job.template.template.max_retries + 1):
            told = {"TASK_INDEX": index, "TASK_COUNT": job.template.task_count, "TASK_ATTEMPT": attempt}
            command = [self._in_image(word) for word in [*container.command, *arguments]]
            environment = {**_BARE, **{f"CLOUD_RUN_{key}": str(value) for key, value in told.items()}, **variables}
            done = subprocess.run(command, env=environment, capture_output=True, timeout=120, check=False)
            with self.lock:
                self.log.append((job.name.rpartition("/")[2], index, done.returncode))
            if done.returncode == 0:
                break
        return done.returncode

    def _value(self, entry):
        return entry.value or self.secrets[entry.value_source.secret_key_ref.secret]

    def _in_image(self, word):
        return next((word.replace(key, value, 1) for key, value in self.image.items() if word.startswith(key)), word)


_BARE = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG") if name in os.environ}


@dataclass(frozen=True)
class Google:
    """Google's clients, and the connector that runs jobs."""

    jobs: run_v2.JobsClient
    executions: run_v2.ExecutionsClient
    tasks: run_v2.TasksClient

    def run(self, arguments):
        """Run a job, and wait for its end unless polling is skipped."""
        overrides = json_format.ParseDict(arguments["body"]["overrides"], run_v2.RunJobRequest.Overrides.pb()())
        operation = self.jobs.run_job(run_v2.RunJobRequest(name=arguments["name"], overrides=overrides))
        if arguments["connector_params"].get("skip_polling"):
            return {"name": operation.operation.name, "metadata": _as_json(operation.metadata)}
        return _as_json(operation.result(timeout=120))


@contextmanager
def serving(image, secrets):
    """A running fake and Google's clients that talk to it."""
    fake = FakeCloudRun({**image, "python": sys.executable}, secrets)
    jobs = {
        "UpdateJob": _method(fake.update_job, run_v2.UpdateJobRequest.pb()),
        "RunJob": _method(fake.run_job, run_v2.RunJobRequest.pb()),
    }
    operations = {"GetOperation": _method(fake.get_operation, operations_pb2.GetOperationRequest)}
    executions = {"GetExecution": _method(fake.get_execution, run_v2.GetExecutionRequest.pb())}
    tasks = {"ListTasks": _method(fake.list_tasks, run_v2.ListTasksRequest.pb())}
    server = grpc.server(futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler("google.cloud.run.v2.Jobs", jobs),
            grpc.method_handlers_generic_handler("google.cloud.run.v2.Executions", executions),
            grpc.method_handlers_generic_handler("google.cloud.run.v2.Tasks", tasks),
            grpc.method_handlers_generic_handler("google.longrunning.Operations", operations),
        )
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            clients = Google(
                run_v2.JobsClient(transport=JobsGrpcTransport(channel=channel)),
                run_v2.ExecutionsClient(transport=ExecutionsGrpcTransport(channel=channel)),
                run_v2.TasksClient(transport=TasksGrpcTransport(channel=channel)),
            )
            yield fake, clients
        finally:
            server.stop(0).wait()


def _method(answer, request):
    return grpc.unary_unary_rpc_method_handler(
        answer, request_deserializer=request.FromString, response_serializer=lambda message: message.SerializeToString()
    )


def deploy(google, bundle):
    """Create or replace every job of a bundle."""
    for path, content in bundle.files.items():
        if path.startswith("jobs/"):
            job = json_format.ParseDict(json.loads(content), run_v2.Job.pb()())
            job.name = f"{PLACE}/jobs/{path.removeprefix('jobs/').removesuffix('.json')}"
            google.jobs.update_job(run_v2.UpdateJobRequest(job=job, allow_missing=True)).result(timeout=30)


def run_workflow(google, source, execution_id, given=None):
    """Do what the workflow's source says; gives the workflow and what it returned, the name of the run."""
    project, location = PLACE.split("/")[1::2]
    variables = {"PROJECT_ID": project, "LOCATION": location, "WORKFLOW_EXECUTION_ID": execution_id}
    connectors = {
        "run": google.run,
        "executions.get": lambda arguments: _as_json(google.executions.get_execution(name=arguments["name"])),
        "executions.tasks.list": lambda arguments: {
            "tasks": [_as_json(task) for task in google.tasks.list_tasks(parent=arguments["parent"])]
        },
    }
    workflow = Workflow(
        source,
        {f"googleapis.run.v2.projects.locations.jobs.{name}": connector for name, connector in connectors.items()},
        {f"GOOGLE_CLOUD_{name}": value for name, value in variables.items()},
    )
    return workflow, workflow.run(given or {})["run"]


def _as_json(message):
    return json_format.MessageToDict(type(message).pb(message))
