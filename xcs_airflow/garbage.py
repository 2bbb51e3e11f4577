"""How often Python looks for unreachable cycles while much is allocated: when a task asks models, when a graph becomes a plan.

It knows the collector; it does not know tasks or graphs.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

ANSWERS = 50_000
"""While a task asks: so many objects that are still there before the next look. Python's own 700 are passed by a few dozen answers."""

GRAPHS = 100_000_000
"""While a graph becomes a plan and files: what is made is there until the end, so a look would go through all of it and find nothing."""

_LOCK = threading.Lock()
_blocks = 0
_before = (0, 0, 0)


@contextmanager
def collected_seldom(allocations: int = ANSWERS) -> Iterator[None]:
    """Look for garbage less often while the block runs: answers, graphs and plans are objects without cycles, and looking takes time.

    Blocks may run side by side in several threads; the last one restores what was before the first. A collector that was told
    to look even less, or never, is left alone.

    Args:
        allocations: How many objects may be new before the next look.
    """
    global _blocks, _before  # noqa: PLW0603  # the collector is one for the process, too
    with _LOCK:
        if not _blocks:
            _before = gc.get_threshold()
            if 0 < _before[0] < allocations:
                gc.set_threshold(allocations, *_before[1:])
        _blocks += 1
    try:
        yield
    finally:
        with _LOCK:
            _blocks -= 1
            if not _blocks:
                gc.set_threshold(*_before)
