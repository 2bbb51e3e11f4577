"""What stays when little changes: nothing at all when nothing does, and what does not depend on it when one operation is added."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from xcs_airflow.ir import Graph, RecordOf, Ref, dumps, loads
from xcs_airflow.passes import LLMGraphEnhancer, PassContext
from xcs_airflow.plan import CloudExporter

from .strategies import graphs
from .toys import llm, plain

TARGETS = st.sampled_from([None, "airflow", "aws-batch", "cloud-run"])


def planned(graph: Graph, target: str | None = None):
    return CloudExporter(target=target).export(LLMGraphEnhancer(target=target).enhance(graph, PassContext(target=target)))


@settings(max_examples=40, deadline=None)
@given(graph=graphs(), target=TARGETS)
def test_an_unchanged_pipeline_changes_no_id_key_or_byte(graph, target):
    """Zero churn: what is compiled again, also from its own JSON, gives the same plan and the same manifest."""
    first, again = planned(graph, target), planned(loads(dumps(graph).encode()), target)
    assert again.to_json() == first.to_json()
    assert again.manifest == first.manifest


@settings(max_examples=60, deadline=None)
@given(graph=graphs(), data=st.data())
def test_adding_an_operation_changes_only_what_depends_on_it(graph, data):
    """Fingerprints, under which results are found again, and requests, under which answers are, stay those of every other step."""
    before = {step.id: step for step in planned(graph).manifest.steps()}
    read = data.draw(st.sampled_from(sorted(operation.id for operation in graph)))
    added = data.draw(st.sampled_from([plain("added", "join", x=read), llm("added", "Add: ", x=read, temperature=0)]))
    larger = graph.replace(operations=[*graph, added])
    after = {step.id: step for step in planned(larger).manifest.steps()}
    for name in before.keys() & after.keys():
        assert after[name].fingerprint == before[name].fingerprint
        assert after[name].call == before[name].call
        assert after[name].cache == before[name].cache


@settings(max_examples=30, deadline=None)
@given(graph=graphs())
def test_tasks_of_another_provider_stay_as_they_are(graph):
    """A call to a provider that nobody else asks shares a task with nobody."""
    before = planned(graph)
    added = llm("added", "Add: ", x="op0", model="mistral/mistral-small", temperature=0.7)
    output = RecordOf(fields={"before": graph.result(), "added": Ref(operation="added")})
    after = planned(graph.replace(operations=[*graph, added], output=output))
    known = {task.id: task for task in after.manifest.tasks}
    kept = [task for task in before.manifest.tasks if task.id in known and len(task.steps) == 1]
    assert all(known[task.id] == task for task in kept)
