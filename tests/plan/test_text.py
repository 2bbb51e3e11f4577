"""The printed plan: its first line tells the cost, its columns fit, and no text of a pipeline can move the terminal."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from xcs_airflow.cost.figures import Figure, Money
from xcs_airflow.ir import Decision
from xcs_airflow.plan import CloudExporter
from xcs_airflow.plan.text import WIDTH, cost_sentence, duration_range, print_plan, seconds, usd


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        ("0", "0"),
        ("0.00", "0"),
        ("0.0000123", "0.000012"),
        ("0.00099", "0.00099"),
        ("0.001", "0.0010"),
        ("0.01", "0.0100"),
        ("0.0200880", "0.0201"),
        ("1", "1.00"),
        ("1234.5", "1,234.50"),
    ],
)
def test_amounts_have_the_digits_that_matter(amount, expected):
    assert usd(Decimal(amount)) == expected


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        (0, "0 s"),
        (1.104, "1.1 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (224, "3 min 44 s"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (200_000, "2 d 7 h"),
    ],
)
def test_durations_have_two_units_at_most(duration, expected):
    assert seconds(duration) == expected


def test_a_range_is_shown_where_there_is_one():
    assert duration_range(Figure.exactly(3)) == "3.0 s"
    assert duration_range(Figure(low=1, expected=2, high=90)) == "2.0 s (1.0 s to 1 min 30 s)"


def test_unknown_money_makes_a_lower_bound():
    known = Money(low=Decimal(1), expected=Decimal(2), high=Decimal(3))
    assert cost_sentence(known) == "2.00 USD per run expected (1.00 to 3.00)"
    assert cost_sentence(Money()) == "0 USD per run"
    unknown = replace(known, unknown=("acme/one", "acme/two"))
    assert cost_sentence(unknown) == "at least 2.00 USD per run, because no price is known for acme/one, acme/two"


def test_the_first_line_says_when_the_cost_is_a_lower_bound(graph):
    operations = [
        op.model_copy(update={"metadata": op.metadata.model_copy(update={"model": "acme/nobody-knows"})}) if op.id == "classify" else op
        for op in graph
    ]
    text = print_plan(CloudExporter().export(graph.replace(operations=operations)))
    assert text.startswith("small: at least 0.0100 USD per run, because no price is known for acme/nobody-knows\n")
    row = next(line for line in text.splitlines() if line.startswith("classify"))
    assert "unknown" in row


def test_a_row_tells_calls_tokens_cost_time_decisions_and_place(graph):
    text = print_plan(CloudExporter().export(graph))
    row = next(line for line in text.splitlines() if line.startswith("classify")).split("  ")
    assert [cell.strip() for cell in row if cell.strip()] == [
        "classify",
        "gpt-4.1-mini",
        "240 → 180",
        "19.4k/1.4k",
        "0.0101 (0.0014–0.0754)",
        "13 s",
        "cached, batched",
        "classify_…, 16 at once",
    ]


def test_shards_are_part_of_the_place(graphs):
    text = print_plan(CloudExporter().export(graphs["sharded"]()))
    assert "classify ×4" in text


def test_every_line_fits_but_the_place_of_the_source(any_graph):
    text = print_plan(CloudExporter().export(any_graph))
    assert [line for line in text.splitlines() if len(line) > WIDTH and "from " not in line] == []


def test_operations_that_were_treated_alike_share_a_sentence(graph):
    alike = [Decision(pass_name="CacheInsertionPass", operation=name, action="applied", reason="temperature is 0") for name in "abcdefg"]
    other = Decision(
        pass_name="Prune", operation="x", action="skipped", reason="it is read", saves_usd=Decimal("0.5"), saves_s=90, rule="none"
    )
    text = print_plan(CloudExporter().export(graph.replace(decisions=[*alike, other])))
    assert "  CacheInsertionPass for a, b, c, d, e and 2 more: temperature is 0\n" in text
    assert "  Prune not for x: it is read; saves 0.5000 USD and 1 min 30 s\n" in text


def test_no_text_of_a_pipeline_reaches_the_terminal_as_control_characters(graphs):
    text = print_plan(CloudExporter().export(graphs["hostile"]()))
    assert [char for char in text if not char.isprintable() and char != "\n"] == []


def test_what_was_assumed_and_where_prices_come_from_is_said(graph):
    plan = CloudExporter().export(graph)
    text = print_plan(plan)
    assert "assumptions (--format json has their sources)\n  " in text
    assert "https://" not in text
    assert text.endswith(f"prices: genai-prices {plan.prices.version} as of {plan.prices.as_of}")


def test_the_same_plan_prints_the_same(any_graph):
    assert print_plan(CloudExporter().export(any_graph)) == print_plan(CloudExporter().export(any_graph))
