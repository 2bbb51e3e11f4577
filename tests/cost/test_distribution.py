"""How measured numbers are kept: small, in any order, and near enough."""

from statistics import fmean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xcs_airflow.cost.distribution import Distribution

NUMBERS = st.lists(st.integers(0, 10**7), max_size=60)


@given(NUMBERS, NUMBERS, NUMBERS)
def test_distributions_add_up_in_any_order(first, second, third):
    parts = [Distribution.of(numbers) for numbers in (first, second, third)]
    whole = Distribution.of([*first, *second, *third])
    assert Distribution.sum(parts) == whole
    assert Distribution.sum([parts[2], Distribution.sum(parts[:2])]) == whole
    assert Distribution.sum([Distribution.sum(parts[1:]), parts[0]]).model_dump_json() == whole.model_dump_json()


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=80))
def test_mean_and_deviation_are_exact(numbers):
    found = Distribution.of(numbers)
    assert found.mean == pytest.approx(fmean(numbers))
    assert found.deviation == pytest.approx(stdev(numbers), abs=1e-6)


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=80), st.sampled_from([0.1, 0.5, 0.9, 1.0]))
def test_a_quantile_is_within_5_percent_of_its_number(numbers, share):
    ordered = sorted(numbers)
    exact = ordered[max(1, -int(-share * len(numbers) // 1)) - 1]
    assert Distribution.of(numbers).quantile(share) == pytest.approx(exact, rel=0.05)


def test_a_million_different_numbers_stay_small():
    found = Distribution.of(range(1_000_000))
    assert found.count == 1_000_000
    assert len(found.sizes) < 500
    assert found.quantile(0.9) == pytest.approx(900_000, rel=0.05)


def test_nothing_measured_has_no_size():
    nothing = Distribution.of([])
    assert (nothing.mean, nothing.deviation, nothing.quantile(0.5)) == (0, 0, 0)
