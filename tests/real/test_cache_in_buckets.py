"""What every cache promises, kept by buckets: obstore against moto's S3 server and an emulator of Cloud Storage."""

import urllib.request
import uuid

import pytest
from moto.server import ThreadedMotoServer

from tests.runtime.cache.conftest import cache, shared_place  # noqa: F401  # fixtures
from tests.runtime.cache.places import ObjectPlace
from tests.runtime.cache.test_conformance import *  # noqa: F403  # the same tests, elsewhere

from .gcs_emulator import cloud_storage

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def s3():
    """Makes buckets, and says where they are."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": endpoint}

    def make(name):
        urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{name}", method="PUT"), timeout=20).close()
        return keys

    yield make
    server.stop()


@pytest.fixture(scope="module")
def gs():
    """Makes buckets, and says where they are."""
    with cloud_storage() as emulator:

        def make(name):
            emulator.make_bucket(name)
            return emulator.environment

        yield make


@pytest.fixture(params=["s3", "gs"])
def place(request, monkeypatch):
    name = f"bucket-{uuid.uuid4().hex}"
    for variable, value in request.getfixturevalue(request.param)(name).items():
        monkeypatch.setenv(variable, value)
    made = ObjectPlace(f"{request.param}://{name}")
    made.many = 50
    yield made
    made.close()
