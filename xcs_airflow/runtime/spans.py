"""Tasks and calls as OpenTelemetry spans and metrics, by its semantic conventions for generative AI.

It knows the names of the conventions (github.com/open-telemetry/semantic-conventions-genai, in development, as of November 2026) and no
exporter. Prompts and answers are never recorded, nor what providers say about errors, which may repeat them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from xcs_airflow.errors import NotReadyError, XcsError
from xcs_airflow.runtime.books import Account, Usage, total
from xcs_airflow.runtime.models.provider import AttemptError, ModelAnswer, ModelRequest
from xcs_airflow.runtime.models.routes import Target

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, TracerProvider

    from xcs_airflow.runtime.attempt import Attempt

_SCOPE: Final = "xcs_airflow"
_CHAT: Final = "chat"
_PORTS = {"http": 80, "https": 443}

DURATION_BUCKETS_S = tuple(0.01 * 2**power for power in range(14))
"""0.01 to 81.92, as the conventions advise."""

TOKEN_BUCKETS = tuple(4**power for power in range(14))
"""1 to 67,108,864, likewise."""


@lru_cache(maxsize=2)
def _watcher(tracers: TracerProvider, meters: MeterProvider) -> OpenTelemetry:
    """One for each pair of providers: an instrument is made once."""
    return OpenTelemetry(tracers, meters)


def watcher() -> OpenTelemetry:
    """Whoever tells the providers that are configured now."""
    from opentelemetry import metrics, trace  # noqa: PLC0415  # the user brings it

    return _watcher(trace.get_tracer_provider(), metrics.get_meter_provider())


class OpenTelemetry:
    """Tells OpenTelemetry what tasks and calls do.

    Args:
        tracers: Whoever takes spans.
        meters: Whoever takes metrics.
    """

    def __init__(self, tracers: TracerProvider, meters: MeterProvider) -> None:
        self._tracer = tracers.get_tracer(_SCOPE, _version())
        meter = meters.get_meter(_SCOPE, _version())
        self._duration = meter.create_histogram(
            "gen_ai.client.operation.duration",
            unit="s",
            description="GenAI operation duration.",
            explicit_bucket_boundaries_advisory=DURATION_BUCKETS_S,
        )
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=TOKEN_BUCKETS,
        )

    @contextmanager
    def task(self, attempt: Attempt) -> Iterator[_Task]:
        """A span for one start of a task, the parent of its calls."""
        attributes = {
            "xcs.pipeline": attempt.manifest.pipeline,
            "xcs.run.id": attempt.run_id,
            "xcs.task.id": attempt.task.id,
            "xcs.task.shard": attempt.shard,
            "xcs.task.shards": attempt.task.shards,
            "xcs.task.attempt": attempt.number,
        }
        with self._span(f"task {attempt.task.id}", attributes, is_call=False) as span:
            try:
                yield _Task(span)
            except NotReadyError:  # a batch takes its time
                raise
            except BaseException as error:
                _failed(span, _kind(error))
                raise

    @contextmanager
    def call(self, account: Account, target: Target, request: ModelRequest) -> Iterator[_Call]:
        """A span and two metrics for one attempt to get an answer."""
        known: dict[str, Any] = {
            "gen_ai.operation.name": _CHAT,
            "gen_ai.provider.name": target.provider,
            "gen_ai.request.model": target.served_model,
            **_server(target.route.endpoint),
        }
        with self._span(f"{_CHAT} {target.served_model}", {**known, **_asked(account, request)}, is_call=True) as span:
            call = _Call()
            began = time.perf_counter()
            try:
                yield call
            except BaseException as error:
                known["error.type"] = _kind(error)
                _failed(span, known["error.type"])
                raise
            finally:
                seconds = time.perf_counter() - began
                if call.answer is not None:
                    self._answered(span, call.answer, known)
                self._duration.record(seconds, known)

    def _answered(self, span: Span, answer: ModelAnswer, known: dict[str, Any]) -> None:
        if answer.model is not None:
            known["gen_ai.response.model"] = answer.model
            span.set_attribute("gen_ai.response.model", answer.model)
        span.set_attribute("gen_ai.response.finish_reasons", (answer.finish_reason,))
        if answer.cached_tokens:
            span.set_attribute("gen_ai.usage.cache_read.input_tokens", answer.cached_tokens)
        if answer.written_tokens:
            span.set_attribute("gen_ai.usage.cache_creation.input_tokens", answer.written_tokens)
        for kind, tokens in (("input", answer.input_tokens), ("output", answer.output_tokens)):
            if tokens is not None:
                span.set_attribute(f"gen_ai.usage.{kind}_tokens", tokens)
                self._tokens.record(tokens, {**known, "gen_ai.token.type": kind})

    @contextmanager
    def _span(self, name: str, attributes: dict[str, Any], *, is_call: bool) -> Iterator[Span]:
        from opentelemetry.trace import SpanKind  # noqa: PLC0415

        kind = SpanKind.CLIENT if is_call else SpanKind.INTERNAL
        # What exceptions say may repeat a prompt.
        with self._tracer.start_as_current_span(
            name, kind=kind, attributes=attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            yield span


class _Call:
    """What came of a call."""

    answer: ModelAnswer | None = None

    def answered(self, answer: ModelAnswer) -> None:
        self.answer = answer


class _Task:
    """What a task used, for its span."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def used(self, usage: Iterable[Usage]) -> None:
        whole = total(usage)
        for name in ("calls", "hits", "duplicates", "discarded", "refused", "possibly_billed"):
            self._span.set_attribute(f"xcs.{name}", getattr(whole, name))
        if not whole.calls_without_billed_price:
            self._span.set_attribute("xcs.billed_cost_usd", float(whole.billed_cost_usd))


def _asked(account: Account, request: ModelRequest) -> dict[str, Any]:
    facts = {
        "gen_ai.request.temperature": request.temperature,
        "gen_ai.request.max_tokens": request.max_tokens,
        "gen_ai.request.seed": request.seed,
        "gen_ai.output.type": "text" if request.output_schema is None else "json",
        "xcs.operation": account.operation,
        "xcs.mechanism": account.mechanism,
    }
    return {name: value for name, value in facts.items() if value is not None}


def _server(endpoint: str | None) -> dict[str, Any]:
    if endpoint is None:
        return {}
    parts = urlsplit(endpoint)
    return {"server.address": parts.hostname or "", "server.port": parts.port or _PORTS[parts.scheme]}


def _failed(span: Span, kind: str) -> None:
    from opentelemetry.trace import StatusCode  # noqa: PLC0415

    span.set_attribute("error.type", kind)
    span.set_status(StatusCode.ERROR)


def _kind(error: BaseException) -> str:
    """One of few words for what went wrong: a status of HTTP, a code of ours, or the name of an exception."""
    if isinstance(error, AttemptError):
        return "no_answer" if error.status is None else str(error.status)
    return error.code if isinstance(error, XcsError) else type(error).__name__


def _version() -> str:
    try:
        return version("xcs-airflow")
    except PackageNotFoundError:
        return "0+checkout"
