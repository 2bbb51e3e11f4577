"""Plans and bundles for the tests of this exporter."""

from __future__ import annotations

import json

import pytest

from xcs_airflow.exporting.bundle import Bundle
from xcs_airflow.ir import Graph, Operation, PipelinePolicy
from xcs_airflow.plan import CloudExporter, CloudGraph
from xcs_exporters.cloud_run import CloudRunExporter

ACCOUNT = {
    "project": "my-project",
    "region": "europe-west1",
    "image": "europe-west1-docker.pkg.dev/my-project/xcs/small:1",
    "service_account": "xcs@my-project.iam.gserviceaccount.com",
    "bucket": "my-project-xcs",
}


def plan_of(*operations: Operation, name: str = "pipe", **policy) -> CloudGraph:
    """The plan of a few operations."""
    return CloudExporter().export(Graph(operations, name=name, policy=PipelinePolicy(**policy), source="pipeline.py:1"))


def load(operation_id: str = "load", **fields) -> Operation:
    """A plain operation."""
    return Operation(**{"id": operation_id, "func": "pipeline:load", "source": "pipeline.py:4", **fields})


@pytest.fixture
def account() -> dict[str, str]:
    """Every setting of an account."""
    return dict(ACCOUNT)


@pytest.fixture
def make_plan():
    """Makes the plan of a few operations."""
    return plan_of


@pytest.fixture
def operation():
    """Makes a plain operation."""
    return load


@pytest.fixture
def plan(graph) -> CloudGraph:
    """The plan of the small pipeline."""
    return CloudExporter().export(graph)


@pytest.fixture
def emit():
    """The files of a plan, read; settings by keyword."""

    def files(plan: CloudGraph, **settings) -> dict[str, object]:
        bundle = CloudRunExporter().emit(plan, settings)
        return {path: json.loads(content) if path.endswith(".json") else content.decode() for path, content in bundle.files.items()}

    return files


@pytest.fixture
def bundle(plan) -> Bundle:
    """The bundle of the small pipeline."""
    return CloudRunExporter().emit(plan, {})


@pytest.fixture
def job_of(emit):
    """The job of the only task of an operation."""

    def job(operation: Operation, **settings) -> dict[str, object]:
        files = emit(plan_of(operation), **settings)
        return next(content for path, content in files.items() if path.startswith("jobs/"))

    return job


@pytest.fixture
def changed():
    """The findings about a bundle in which one file was changed; `change` gets the document."""

    def findings(bundle: Bundle, path: str, change) -> list[tuple[str, str]]:
        document = json.loads(bundle.files[path])
        change(document)
        broken = CloudRunExporter().check(bundle.with_files({path: json.dumps(document)}))
        return [(finding.message.partition(":")[0], finding.place) for finding in broken]

    return findings
