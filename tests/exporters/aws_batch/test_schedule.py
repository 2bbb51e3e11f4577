import pytest

from xcs_airflow.errors import UnsupportedError
from xcs_airflow.ir import PipelinePolicy


def test_the_schedule_is_converted(emit, graph, document):
    found = document(emit(graph), "schedule.json")
    assert found["ScheduleExpression"] == "cron(0 6 * * ? *)"
    assert found["ScheduleExpressionTimezone"] == "Europe/Berlin"
    assert found["FlexibleTimeWindow"] == {"Mode": "OFF"}
    assert found["Target"]["Input"] == "{}"


def test_a_pipeline_on_demand_has_none(emit, graph, document):
    bundle = emit(graph.replace(policy=PipelinePolicy()))
    assert "schedule.json" not in bundle.files
    assert {"Schedule", "SchedulerRole"}.isdisjoint(document(bundle, "template.json")["Resources"])


def test_what_cannot_be_expressed_is_refused(emit, graph):
    with pytest.raises(UnsupportedError) as caught:
        emit(graph.replace(policy=PipelinePolicy(schedule="0 6 1 * 1")))
    finding = caught.value.findings[0]
    assert (finding.code, finding.place) == ("XCS507", "pipeline.py:30")
    assert finding.hint == "export two pipelines, one with each kind of day"
