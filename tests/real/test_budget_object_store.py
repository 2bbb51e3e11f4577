"""One budget in a bucket, and processes that share nothing else: obstore's conditional writes against moto's S3 server."""

import signal
import urllib.request
from decimal import Decimal

import pytest
from moto.server import ThreadedMotoServer

from tests.runtime.money import FOLDER
from tests.runtime.spenders import Spenders
from xcs_airflow.runtime.allotments import Allotments
from xcs_airflow.runtime.object_store import ObjectStore

pytestmark = pytest.mark.real

BUDGET = Decimal("0.5")


@pytest.fixture
def address(monkeypatch, tmp_path):
    """An empty bucket."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    bucket = f"bucket-{abs(hash(tmp_path))}"  # servers of one process share what they hold
    urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/{bucket}", method="PUT"), timeout=20).close()
    yield f"s3://{bucket}/xcs"
    server.stop()


def shares(address):
    return Allotments.model_validate_json(ObjectStore.at(address).get(f"{FOLDER}/budget.json"))


@pytest.fixture
def spenders(address, tmp_path):
    found = Spenders(address, tmp_path, BUDGET)
    yield found
    found.close()


def test_processes_that_share_a_bucket_share_a_budget(spenders, address):
    for name in ("a", "b"):
        spenders.start(name, calls=200)
    spenders.go("a", "b")
    assert [spenders.ended(name) for name in ("a", "b")] == ["XCS730"] * 2
    assert shares(address).attempts == {}
    assert shares(address).spent_usd == spenders.paid_by_all
    assert BUDGET - Decimal("0.1") < spenders.paid_by_all <= BUDGET


def test_what_a_killed_process_had_in_a_bucket_is_paid_out_to_others(spenders, address):
    dead = spenders.start("dead", calls=30, act="hang")
    spenders.go("dead")
    assert dead.stdout.readline() == "hanging\n"
    dead.kill()
    assert dead.wait(20) == -signal.SIGKILL
    assert shares(address).taken_usd >= Decimal("0.3")
    spenders.start("heir", calls=200)
    spenders.go("heir")
    assert spenders.ended("heir") == "XCS730"
    assert Decimal("0.4875") - Decimal("0.02") < spenders.paid("heir") <= Decimal("0.4875")
    assert spenders.paid_by_all <= BUDGET
