"""A Cloud Run on loopback: Google's own protocol and client in front, local processes as containers behind.

It knows jobs, executions, overrides, retries and the variables a container finds; images and permissions it does not know.
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
from google.cloud.run_v2.services.jobs.transports import JobsGrpcTransport
from google.longrunning import operations_pb2
from google.protobuf import json_format

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
        operation = self._operation(execution, done=False)
        threading.Thread(target=self._execute, args=(job, request.overrides, execution, operation.name)).start()
        return operation

    def get_operation(self, request, _context):
        with self.lock:
            return self.operations[request.name]

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
            if self._task(job, overrides, index):
                execution.succeeded_count += 1
            else:
                execution.failed_count += 1
        # As has been reported, the operation of a failed execution carries no error: only the counts tell.
        self._operation(execution, name=name)

    def _task(self, job, overrides, index):
        """Start a container until it ends well or its retries are used up."""
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
                return True
        return False

    def _value(self, entry):
        return entry.value or self.secrets[entry.value_source.secret_key_ref.secret]

    def _in_image(self, word):
        return next((word.replace(key, value, 1) for key, value in self.image.items() if word.startswith(key)), word)


_BARE = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG") if name in os.environ}


@contextmanager
def serving(image, secrets):
    """A running fake and a client of Google's that talks to it."""
    fake = FakeCloudRun({**image, "python": sys.executable}, secrets)
    jobs = {
        "UpdateJob": _method(fake.update_job, run_v2.UpdateJobRequest.pb()),
        "RunJob": _method(fake.run_job, run_v2.RunJobRequest.pb()),
    }
    operations = {"GetOperation": _method(fake.get_operation, operations_pb2.GetOperationRequest)}
    server = grpc.server(futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler("google.cloud.run.v2.Jobs", jobs),
            grpc.method_handlers_generic_handler("google.longrunning.Operations", operations),
        )
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            yield fake, run_v2.JobsClient(transport=JobsGrpcTransport(channel=channel))
        finally:
            server.stop(0).wait()


def _method(answer, request):
    return grpc.unary_unary_rpc_method_handler(
        answer, request_deserializer=request.FromString, response_serializer=lambda message: message.SerializeToString()
    )


def deploy(client, bundle):
    """Create or replace every job of a bundle."""
    for path, content in bundle.files.items():
        if path.startswith("jobs/"):
            job = json_format.ParseDict(json.loads(content), run_v2.Job.pb()())
            job.name = f"{PLACE}/jobs/{path.removeprefix('jobs/').removesuffix('.json')}"
            client.update_job(run_v2.UpdateJobRequest(job=job, allow_missing=True)).result(timeout=30)


class WorkflowError(Exception):
    """The workflow raised."""


def run_workflow(client, workflow, execution_id, given=None):
    """Do what the workflow's source says, one step after the other."""
    run, parameters = (given or {}).get("run", execution_id), json.dumps((given or {}).get("parameters", {}))
    body = workflow["run_job"]["steps"][0]["start"]["args"]["body"]["overrides"]

    def run_job(name):
        overrides = json_format.ParseDict(
            _filled(body, {"${run}": run, "${parameters}": parameters}), run_v2.RunJobRequest.Overrides.pb()()
        )
        request = run_v2.RunJobRequest(name=f"{PLACE}/jobs/{name}", overrides=overrides)
        execution = client.run_job(request).result(timeout=120)
        return execution.succeeded_count == execution.task_count

    with futures.ThreadPoolExecutor(4) as pool:
        for step in workflow["main"]["steps"]:
            ((_, work),) = step.items()
            jobs = work["parallel"]["for"]["in"] if "parallel" in work else [work["args"]["job"]] if "call" in work else []
            if not all(list(pool.map(run_job, jobs))):
                raise WorkflowError(jobs)
    return run


def _filled(node, values):
    if isinstance(node, dict):
        return {key: _filled(value, values) for key, value in node.items()}
    if isinstance(node, list):
        return [_filled(value, values) for value in node]
    return values.get(node, node)
