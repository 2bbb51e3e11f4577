"""How often Python looks for unreachable cycles while a task asks models.

It knows the collector; it does not know tasks.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_ALLOCATIONS = 50_000
"""Of objects that are still there, before the next look; Python's own 700 are passed by a few dozen answers."""

_LOCK = threading.Lock()
_blocks = 0
_before = (0, 0, 0)


@contextmanager
def collected_seldom() -> Iterator[None]:
    """Look for garbage less often while the block runs: every call allocates much and leaves no cycles, and looking takes time.

    Blocks may run side by side in several threads; the last one restores what was before the first. A collector that was told
    to look even less, or never, is left alone.
    """
    global _blocks, _before  # noqa: PLW0603  # the collector is one for the process, too
    with _LOCK:
        if not _blocks:
            _before = gc.get_threshold()
            if 0 < _before[0] < _ALLOCATIONS:
                gc.set_threshold(_ALLOCATIONS, *_before[1:])
        _blocks += 1
    try:
        yield
    finally:
        with _LOCK:
            _blocks -= 1
            if not _blocks:
                gc.set_threshold(*_before)
