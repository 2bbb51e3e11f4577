"""Rules that targets share: legal names stay different, and every reason against a plan is named at once."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xcs_airflow.errors import ExportError
from xcs_airflow.exporting.port import FEATURES
from xcs_airflow.ir import Constant
from xcs_airflow.plan import CloudExporter
from xcs_airflow.plan.legalise import NameRule, legal_names, needed_features, unsupported

RULES = {
    "batch": NameRule(allowed="A-Za-z0-9_-", max_length=128),
    "cloud run": NameRule(allowed="a-z0-9-", max_length=49, lower=True),
    "workflow": NameRule(allowed="A-Za-z0-9_", max_length=30, filler="_"),
}
IDS = st.text("ABab01_-.", min_size=1, max_size=80)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@given(ids=st.sets(IDS, max_size=20))
def test_names_become_legal_and_stay_different(rule, ids):
    legal = legal_names(sorted(ids), rule)
    assert len(set(legal.values())) == len(ids)
    for name in legal.values():
        assert re.fullmatch(f"[A-Za-z][{rule.allowed}]*", name)
        assert len(name) <= rule.max_length


def test_a_legal_name_stays_as_it_is():
    assert RULES["cloud run"].mangle("classify-tickets") == "classify-tickets"


def test_a_changed_name_carries_a_mark_of_the_original():
    assert RULES["cloud run"].mangle("Classify.Tickets") == "classify-tickets-320c8be0"


def test_a_name_that_was_chosen_to_be_another_ones_form_is_refused():
    rule = RULES["cloud run"]
    with pytest.raises(ExportError, match="XCS508"):
        legal_names(["A", rule.mangle("A")], rule)


def test_a_plan_asks_for_what_its_operations_use(graph):
    needs = needed_features(CloudExporter().export(graph))
    assert set(needs) == {
        "schedule",
        "timezone",
        "parameters",
        "edges",
        "retries",
        "retry_by_exit_code",
        "timeout",
        "secrets",
        "rate_limit_pools",
    }
    assert [task.id for task in needs["timeout"]] == ["report"]
    assert needs["schedule"] == needs["retry_by_exit_code"] == []
    assert set(needs) <= set(FEATURES)


def test_a_condition_is_asked_for_by_the_task_that_has_it(graph):
    operations = [op.model_copy(update={"when": Constant(constant=True)}) if op.id == "report" else op for op in graph]
    needs = needed_features(CloudExporter().export(graph.replace(operations=operations)))
    assert [task.id for task in needs["conditions"]] == ["report"]


def test_every_refusal_is_named_with_its_place(graph):
    plan = CloudExporter().export(graph)
    findings = unsupported(plan, "toy", {"secrets": "it has none", "timezone": "only UTC", "gpu": "none"}, advisory={"timezone"})
    assert [(finding.severity, finding.operation, finding.place) for finding in findings] == [
        ("warning", None, "pipeline.py:30"),
        ("error", "%classify", "pipeline.py:9"),
    ]
    assert findings[1].message == "toy cannot do secrets: it has none"


def test_too_many_shards_are_a_refusal(graphs):
    sharded = unsupported(CloudExporter().export(graphs["sharded"]()), "toy", {}, max_shards=3)
    assert [finding.message for finding in sharded] == ["toy cannot do 4 shards of one task: the limit is 3"] * 2
