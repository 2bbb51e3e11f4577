import pytest

from xcs_airflow.errors import UnsupportedError
from xcs_airflow.exporting.port import FEATURES
from xcs_airflow.ir import Graph, Operation, PipelinePolicy, Resources, Retry
from xcs_airflow.plan import CloudExporter
from xcs_exporters.airflow import AirflowExporter

EXPORTER = AirflowExporter()


def refused(graph, settings=None):
    with pytest.raises(UnsupportedError) as caught:
        EXPORTER.emit(CloudExporter().export(graph), settings or {})
    return [finding for finding in caught.value.findings if finding.severity == "error"]


def test_every_feature_is_decided_once():
    capabilities = EXPORTER.capabilities
    assert set(capabilities.supported) | set(capabilities.unsupported) == set(FEATURES)
    assert not set(capabilities.supported) & set(capabilities.unsupported)
    assert capabilities.advisory <= set(capabilities.unsupported)


def test_everything_airflow_cannot_do_is_said_at_once():
    operations = [
        Operation(id="a", func="m:a", image="other", source="p.py:1"),
        Operation(id="b", func="m:b", resources=Resources(gpu=1), source="p.py:2"),
        Operation(id="c", func="m:c", timeout_s=10**12, retry=Retry(delay_s=10**12), source="p.py:3"),
        Operation(id="d", func="m:d", env={"a b": "x", "NUL": "\0", "HALF": "\ud83d"}, source="p.py:4"),
    ]
    policy = PipelinePolicy(deadline_s=1e300)
    findings = refused(Graph(operations, name="g", policy=policy, source="p.py:9"))
    assert [(finding.code, finding.place) for finding in findings] == [
        ("XCS502", "p.py:1"),
        ("XCS502", "p.py:9"),
        ("XCS502", "p.py:2"),
        *[("XCS502", "p.py:3")] * 2,
        *[("XCS502", "p.py:4")] * 3,
    ]


def test_a_gpu_needs_a_queue_of_workers_that_have_one():
    graph = Graph([Operation(id="b", func="m:b", resources=Resources(gpu=1))], name="g")
    (finding,) = refused(graph)
    assert finding.hint == "set gpu_queue under [tool.xcs.targets.airflow]"
    source = EXPORTER.emit(CloudExporter().export(graph), {"gpu_queue": "gpus", "queue": "small"}).text("g.py")
    assert 'queue="gpus"' in source
    assert '"queue": "small"' in source
