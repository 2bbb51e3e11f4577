"""Something that is done again and again while something else lasts, so that others see that one lives.

It knows a thread and an interval; it does not know what is done. The thread does not survive a fork, and does not keep a process alive.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from xcs_airflow.errors import XcsError

_LOG = logging.getLogger("xcs_airflow.runtime")
_LAST_BEAT_S = 5.0


class Heartbeat:
    """Calls a function every few seconds until it is stopped. A beat that fails is logged, and the next one tries again.

    Args:
        beat: What is done.
        every_s: After how many seconds it is done again.
    """

    def __init__(self, beat: Callable[[], None], every_s: float) -> None:
        self._beat = beat
        self._every_s = every_s
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="xcs-heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it. A beat that is under way is waited for, as long as a place that answers takes."""
        self._is_over.set()
        self._thread.join(_LAST_BEAT_S)

    def _run(self) -> None:
        while not self._is_over.wait(self._every_s):
            try:
                self._beat()
            except XcsError as error:
                _LOG.info("a claim could not be renewed: %s", error)
