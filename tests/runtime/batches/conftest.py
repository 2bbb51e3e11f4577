"""A provider with batch APIs, and a pipeline that uses one of them."""

import pytest

from .lab import MODELS, Lab
from .server import serving


@pytest.fixture
def batch_server():
    with serving() as server:
        yield server


@pytest.fixture(params=MODELS)
def lab(request, batch_server, tmp_path, monkeypatch):
    """Once for each provider."""
    return Lab(batch_server, request.param, tmp_path, monkeypatch)


@pytest.fixture
def openai(batch_server, tmp_path, monkeypatch):
    return Lab(batch_server, "openai", tmp_path, monkeypatch)


@pytest.fixture
def anthropic(batch_server, tmp_path, monkeypatch):
    return Lab(batch_server, "anthropic", tmp_path, monkeypatch)
