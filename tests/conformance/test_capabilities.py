"""Exporters say what they cannot do, and refuse plans that need it with every reason."""

import pytest

from xcs_airflow.errors import UnsupportedError
from xcs_airflow.exporting.port import FEATURES
from xcs_airflow.ir import Graph, LLMOperation, Operation
from xcs_airflow.plan.legalise import needed_features

from .needs import NEEDS, NEVER_ASKED, SETTINGS


def test_every_feature_has_a_graph_that_asks_for_it(plan_of):
    assert {*NEEDS, *NEVER_ASKED} == set(FEATURES)
    assert [feature for feature, graph in NEEDS.items() if feature not in needed_features(plan_of(graph))] == []


def test_every_feature_is_decided_with_a_reason(exporter):
    supported, unsupported = exporter.capabilities.supported, exporter.capabilities.unsupported
    assert set(supported) | set(unsupported) == set(FEATURES)
    assert set(supported) & set(unsupported) == set()
    assert exporter.capabilities.advisory <= set(unsupported)
    assert all(len(reason.split()) >= 4 and not reason.endswith(".") for reason in [*supported.values(), *unsupported.values()])


@pytest.mark.parametrize("feature", NEEDS)
def test_what_is_supported_is_emitted_and_what_is_not_is_refused(exporter, plan_of, feature):
    plan, capabilities = plan_of(NEEDS[feature]), exporter.capabilities
    settings = SETTINGS.get((exporter.name, feature), {})
    if feature in capabilities.supported or feature in capabilities.advisory:
        assert exporter.check(exporter.emit(plan, settings)) == ()
        return
    with pytest.raises(UnsupportedError) as caught:
        exporter.emit(plan, settings)
    errors = [finding for finding in caught.value.findings if finding.severity == "error"]
    asking = needed_features(plan)[feature]
    assert [finding.operation for finding in errors] == ([f"%{task.id}" for task in asking] or [None])
    assert all(capabilities.unsupported[feature] in finding.message and finding.place for finding in errors)


def test_every_reason_is_told_at_once(exporter, plan_of):
    refused = [
        feature for feature in NEEDS if feature in exporter.capabilities.unsupported and feature not in exporter.capabilities.advisory
    ]
    most = exporter.capabilities.max_shards
    operations = [operation for feature in refused for operation in NEEDS[feature]]
    operations = [_renamed(operation, f"op{number}") for number, operation in enumerate(operations)]
    if most is not None:
        operations += [Operation(id=f"wide{number}", func="a:b", shards=most + 1) for number in range(2)]
    if operations:
        with pytest.raises(UnsupportedError) as caught:
            exporter.emit(plan_of(Graph(operations, name="all")), {})
        told = {finding.operation for finding in caught.value.findings if finding.severity == "error"}
        assert told == {f"%{operation.id}" for operation in operations}


def _renamed(operation, name):
    """The operation under another name, in a group of that name if it has one."""
    group = {"batch": operation.batch.model_copy(update={"group": name})} if isinstance(operation, LLMOperation) and operation.batch else {}
    return operation.model_copy(update={"id": name, **group})


def test_as_many_shards_as_allowed_are_emitted(exporter, plan_of):
    most = exporter.capabilities.max_shards or 100_000
    bundle = exporter.emit(plan_of(Graph([Operation(id="wide", func="a:b", shards=most)], name="wide")), {})
    assert exporter.check(bundle) == ()
    assert sum(map(len, bundle.files.values())) < 100_000
