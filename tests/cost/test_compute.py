"""What starting and running a task costs: figures with a source, minimums, sizes, and what nobody knows."""

from __future__ import annotations

from decimal import Decimal

import pytest

from xcs_airflow.cost.compute import platform_of, platforms, task_cost_usd
from xcs_airflow.cost.figures import Figure
from xcs_airflow.exporting.registry import exporter_names
from xcs_airflow.ir import Resources

BATCH, RUN, AIRFLOW = (platforms()[name] for name in ("aws-batch", "cloud-run", "airflow"))
SMALL = Resources(cpu=0.25, memory_mib=512)
L4 = Resources(gpu=1, gpu_type="nvidia-l4")


def test_every_row_has_a_source_and_an_ordered_start():
    for platform in platforms().values():
        assert platform.source
        assert platform.start_s.low <= platform.start_s.expected <= platform.start_s.high
        assert list(platform.sizes) == sorted(platform.sizes, key=lambda size: size.cpu)
        assert all(gpu.source and gpu.memory_gib > 0 and gpu.speed.low <= gpu.speed.expected <= gpu.speed.high for gpu in platform.gpus)


def test_every_exporter_of_the_project_has_a_row():
    assert set(exporter_names()) <= set(platforms())
    assert platform_of(None) is platform_of("elsewhere") is None


@pytest.mark.parametrize(("platform", "price"), [(BATCH, "0.00020571"), (RUN, "0.00114")])
def test_five_seconds_cost_a_minute(platform, price):
    """Fargate: https://aws.amazon.com/fargate/pricing/; Cloud Run: https://cloud.google.com/run/pricing; one minute at least."""
    cost = task_cost_usd(platform, SMALL, 5)
    assert round(cost.expected, 8) == Decimal(price)
    assert cost == task_cost_usd(platform, SMALL, 60 - platform.billed_start_s)


def test_two_short_tasks_cost_two_minutes_and_together_one():
    apart, together = 2 * task_cost_usd(BATCH, SMALL, 5).expected, task_cost_usd(BATCH, SMALL, 10).expected
    assert apart == 2 * together


def test_the_download_of_the_image_is_billed_on_fargate():
    assert BATCH.billed_s(SMALL, 100) == 143


def test_a_machine_with_a_gpu_is_billed_from_its_start():
    assert BATCH.billed_s(L4, 10) == 250
    assert task_cost_usd(BATCH, L4, 10).expected == Decimal(250) * Decimal("0.8048") / 3600


def test_a_gpu_of_cloud_run_brings_processors_and_memory_that_are_paid_for():
    per_hour = Decimal("0.67") + 4 * Decimal("0.0648") + 16 * Decimal("0.0072")
    assert RUN.usd_per_h(L4) == per_hour


def test_a_task_pays_for_the_size_it_gets():
    assert BATCH.size_for(Resources(cpu=1, memory_mib=512)) == Resources(cpu=1, memory_mib=2048)
    assert RUN.size_for(SMALL) == Resources(cpu=1, memory_mib=512)
    assert RUN.size_for(Resources(cpu=1, memory_mib=700)) == Resources(cpu=1, memory_mib=700)
    assert RUN.size_for(Resources(cpu=9)) is None
    assert AIRFLOW.size_for(SMALL) == SMALL


@pytest.mark.parametrize(
    ("platform", "resources"),
    [
        (AIRFLOW, SMALL),
        (BATCH, Resources(gpu=1, gpu_type="nvidia-h100")),
        (BATCH, Resources(gpu=1, gpu_type="tpu")),
        (BATCH, Resources(cpu=64)),
    ],
)
def test_an_unknown_price_is_not_zero(platform, resources):
    cost = task_cost_usd(platform, resources, 60)
    assert not cost.is_complete
    assert cost.unknown[0].startswith(platform.name)


def test_a_range_of_seconds_gives_a_range_of_costs():
    cost = task_cost_usd(RUN, SMALL, Figure(low=1, expected=100, high=1000))
    assert cost.low < cost.expected < cost.high
