"""Whoever watches tasks and calls: OpenTelemetry, where somebody has configured it, otherwise nobody.

It knows when there is something to tell, and whom; `spans.py` knows how OpenTelemetry wants to hear it. It never imports OpenTelemetry: an
SDK that was configured, by `opentelemetry-instrument` or by a few lines of Python, is loaded already.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol

from xcs_airflow.runtime.books import Account, Usage
from xcs_airflow.runtime.models.provider import ModelAnswer, ModelRequest
from xcs_airflow.runtime.models.routes import Target

if TYPE_CHECKING:
    from xcs_airflow.runtime.attempt import Attempt

_SIGNALS = ("trace", "metrics")


class CallSpan(Protocol):
    """One call that is being watched."""

    def answered(self, answer: ModelAnswer) -> None:
        """Take note of the answer."""


class TaskSpan(Protocol):
    """One start of a task that is being watched."""

    def used(self, usage: Iterable[Usage]) -> None:
        """Take note of what it used."""


class Telemetry(Protocol):
    """Watches tasks and calls. An error that leaves a block is taken note of."""

    def task(self, attempt: Attempt) -> AbstractContextManager[TaskSpan]:
        """Watch one start of a task; calls that are made meanwhile belong to it."""

    def call(self, account: Account, target: Target, request: ModelRequest) -> AbstractContextManager[CallSpan]:
        """Watch one attempt to get an answer."""


class _Nobody:
    def used(self, usage: Iterable[Usage]) -> None:
        """Forget it."""


def telemetry() -> Telemetry | None:
    """Whoever watches; None, at no cost, when no SDK is configured."""
    if not any(_is_configured(signal) for signal in _SIGNALS):
        return None
    from xcs_airflow.runtime.spans import watcher  # noqa: PLC0415  # it needs OpenTelemetry

    return watcher()


@contextmanager
def watched(attempt: Attempt) -> Iterator[TaskSpan]:
    """Let one start of a task be watched, if somebody watches."""
    watching = telemetry()
    if watching is None:
        yield _Nobody()
    else:
        with watching.task(attempt) as span:
            yield span


def _is_configured(signal: str) -> bool:
    """Whether the provider of a signal is one that does something; those of the API itself stand for none."""
    api = sys.modules.get(f"opentelemetry.{signal}")
    if api is None:
        return False
    provider = api.get_tracer_provider() if signal == "trace" else api.get_meter_provider()
    return not type(provider).__module__.startswith(f"opentelemetry.{signal}")
