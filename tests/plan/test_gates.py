"""Budgets and deadlines: what is over as expected is an error, what is over only at worst is a warning."""

from __future__ import annotations

from decimal import Decimal

import pytest

from xcs_airflow.ir import PipelinePolicy
from xcs_airflow.plan import CloudExporter
from xcs_airflow.plan.gates import gate


def codes(graph, budget=None, **policy):
    plan = CloudExporter().export(graph.replace(policy=PipelinePolicy(**policy)))
    return [(finding.code, finding.severity) for finding in gate(plan, budget)]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({}, []),
        ({"budget_usd": Decimal(1)}, []),
        ({"budget_usd": Decimal("0.1")}, [("XCS405", "warning")]),
        ({"budget_usd": Decimal("0.01")}, [("XCS401", "error")]),
        ({"deadline_s": 60.0}, []),
        ({"deadline_s": 10.0}, [("XCS404", "error")]),
        ({"deadline_s": 10.0, "budget_usd": Decimal(0)}, [("XCS401", "error"), ("XCS404", "error")]),
    ],
)
def test_a_plan_is_held_against_its_policy(graph, policy, expected):
    assert codes(graph, **policy) == expected


def test_a_given_budget_goes_before_the_authors(graph):
    assert codes(graph, Decimal(1), budget_usd=Decimal(0)) == []
    assert codes(graph, Decimal(0), budget_usd=Decimal(1)) == [("XCS401", "error")]


def test_a_model_without_a_price_is_a_warning(graph):
    operations = [
        op.model_copy(update={"metadata": op.metadata.model_copy(update={"model": "acme/x"})}) if op.kind == "llm" else op for op in graph
    ]
    assert codes(graph.replace(operations=operations), budget_usd=Decimal(1)) == [("XCS402", "warning")]
