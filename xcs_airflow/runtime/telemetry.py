"""Spans and metrics of model calls, for whoever has configured an OpenTelemetry SDK.

It knows the names of OpenTelemetry's conventions for generative AI; it configures no exporter.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from xcs_airflow.runtime.books import Account
from xcs_airflow.runtime.models.provider import ModelAnswer, ModelRequest
from xcs_airflow.runtime.models.routes import Target


class CallSpan(Protocol):
    """One call that is being watched."""

    def answered(self, answer: ModelAnswer) -> None:
        """Take note of the answer."""


class Telemetry(Protocol):
    """Watches calls."""

    def call(self, account: Account, target: Target, request: ModelRequest) -> AbstractContextManager[CallSpan]:
        """Watch one attempt; an error that leaves the block is taken note of."""


def telemetry() -> Telemetry | None:
    """Whoever watches calls; None, at no cost, when no SDK is configured."""
    return None
