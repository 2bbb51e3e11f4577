"""The calls in flight of one task, shared by all questions that are asked side by side.

It knows how many there are and who asks; it makes no call.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from xcs_airflow.runtime.question import Question


class Slots(asyncio.Semaphore):
    """A place for every call in flight.

    Args:
        most: How many calls may be in flight at a time.
    """

    def __init__(self, most: int) -> None:
        super().__init__(most)
        self._asking: Counter[Question] = Counter()

    @contextmanager
    def asked(self, question: Question) -> Iterator[None]:
        """Note that a question is being asked, as long as the block runs."""
        self._asking[question] += 1
        try:
            yield
        finally:
            self._asking[question] -= 1
            if not self._asking[question]:
                del self._asking[question]

    def free_for(self, question: Question) -> int:
        """How many more calls of a question are sure to begin at once: none when another question may come first."""
        return 0 if self.locked() or self._asking.keys() - {question} else self._value
