"""Rows without an answer, counted, and in the end one error that speaks for all of them.

It knows errors; it does not know rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from xcs_airflow.errors import Finding, ModelError, ModelUnavailableError

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Failure:
    """What stands in the place of an answer that could not be had."""

    error: ModelError


class Failures:
    """Failed answers of one step; only the first few different reasons are kept."""

    def __init__(self) -> None:
        self._asked = 0
        self._failed = 0
        self._first: ModelError | None = None
        self._all_retryable = True
        self._findings: dict[Finding, None] = {}

    def count(self, answers: Iterable[object]) -> None:
        """Take note of answers and failures."""
        for answer in answers:
            self._asked += 1
            if isinstance(answer, Failure):
                self._add(answer.error)

    def raise_any(self) -> None:
        """Raise what went wrong, if something did.

        Raises:
            ModelError: With the number of failures and the first few different reasons.
            ModelUnavailableError: The same, when trying again later may help all of them.
        """
        if self._first is None:
            return
        if self._asked == 1:
            raise self._first
        operation = self._first.findings[0].operation
        head = Finding.of("XCS708", operation=operation, failed=self._failed, total=self._asked)
        kind = ModelUnavailableError if self._all_retryable else ModelError
        raise kind([head, *self._findings])

    def __bool__(self) -> bool:
        return self._failed > 0

    def _add(self, error: ModelError) -> None:
        self._failed += 1
        self._first = self._first or error
        self._all_retryable = self._all_retryable and error.retryable
        for finding in error.findings:
            if len(self._findings) < _SHOWN:
                self._findings[finding] = None
