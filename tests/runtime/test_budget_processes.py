"""One budget and several processes: what they pay together stays within it, also when one of them is killed."""

import signal
import time
from decimal import Decimal

import pytest

from xcs_airflow.runtime.allotments import Allotments

from .money import FOLDER
from .spenders import Spenders

BUDGET = Decimal("1.0")


@pytest.fixture
def spenders(tmp_path):
    found = Spenders(tmp_path / "store", tmp_path, BUDGET)
    yield found
    found.close()


def shares(tmp_path):
    return Allotments.model_validate_json((tmp_path / "store" / FOLDER / "budget.json").read_bytes())


def test_processes_that_share_a_store_share_a_budget(spenders, tmp_path):
    names = ("a", "b", "c")
    for name in names:
        spenders.start(name, calls=400)
    spenders.go(*names)
    assert {spenders.ended(name) for name in names} == {"XCS730"}
    assert shares(tmp_path).attempts == {}
    assert shares(tmp_path).spent_usd == spenders.paid_by_all
    assert BUDGET - Decimal("0.2") < spenders.paid_by_all <= BUDGET
    assert sum(spenders.paid(name) > 0 for name in names) > 1


def test_what_a_killed_process_set_aside_and_did_not_send_is_paid_out_to_others(spenders, tmp_path):
    """It held 0.60 of 1.00 and sent one call: that counts at its worst, a quarter above what was asked, and the rest is free."""
    dead = spenders.start("dead", calls=60, act="hang")
    spenders.go("dead")
    assert dead.stdout.readline() == "hanging\n"
    dead.kill()
    assert dead.wait(20) == -signal.SIGKILL
    held = shares(tmp_path).taken_usd
    assert held >= Decimal("0.6")
    spenders.start("heir", calls=400)
    spenders.go("heir")
    assert spenders.ended("heir") == "XCS730"
    assert Decimal("0.9875") - Decimal("0.02") < spenders.paid("heir") <= Decimal("0.9875")
    assert spenders.paid_by_all <= BUDGET
    (left,) = shares(tmp_path).attempts.values()
    assert left.usd == Decimal("0.0125")


def test_a_process_that_is_killed_while_it_spends_costs_no_more_than_its_calls_in_flight(spenders, tmp_path):
    for name in ("dead", "heir"):
        spenders.start(name, calls=400)
    spenders.go("dead", "heir")
    ends = time.monotonic() + 60
    while spenders.paid("dead") < Decimal("0.1") and time.monotonic() < ends:
        time.sleep(0.005)
    spenders.processes["dead"].kill()
    assert spenders.processes["dead"].wait(20) in (-signal.SIGKILL, 0)
    assert spenders.paid("dead") >= Decimal("0.1")
    assert spenders.ended("heir") == "XCS730"
    # Four calls were in flight at most; each of them counts at 0.0125.
    assert BUDGET - 4 * Decimal("0.0125") - Decimal("0.02") < spenders.paid_by_all <= BUDGET
