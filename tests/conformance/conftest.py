"""Every exporter there is, and what it makes of a graph."""

from __future__ import annotations

import pytest

from xcs_airflow.exporting.bundle import Bundle
from xcs_airflow.exporting.port import Exporter
from xcs_airflow.exporting.registry import exporter_names, load_exporter
from xcs_airflow.ir import Graph
from xcs_airflow.plan import CloudExporter, CloudGraph

from .readers import READERS, Emitted


@pytest.fixture(params=exporter_names(), scope="session")
def exporter(request: pytest.FixtureRequest) -> Exporter:
    """Each exporter in turn, found as users find it."""
    return load_exporter(request.param)


@pytest.fixture
def plan_of():
    """Makes the plan of a graph."""
    return CloudExporter().export


@pytest.fixture
def plan(any_graph: Graph) -> CloudGraph:
    """The plan of each graph in turn."""
    return CloudExporter().export(any_graph)


@pytest.fixture
def bundle(exporter: Exporter, plan: CloudGraph) -> Bundle:
    """What each exporter makes of each plan."""
    return exporter.emit(plan, {})


@pytest.fixture
def read(exporter: Exporter):
    """Reads back what the exporter wrote."""

    def emitted(bundle: Bundle) -> Emitted:
        return READERS[exporter.name](bundle)

    return emitted
