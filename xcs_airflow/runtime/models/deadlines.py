"""How long a call may take: calls of one length share one timer.

It knows tasks and time, not what they do. A timer of its own for every call costs a tenth of what a fast call costs altogether.
"""

from __future__ import annotations

import asyncio


class Deadlines:
    """Cancels the tasks that take longer than they may. One instance belongs to one event loop.

    Args:
        seconds: How long that is, for each of them.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        # In the order they began, which is the order they are due.
        self._due: dict[asyncio.Task[object], float] = {}
        self._late: set[asyncio.Task[object]] = set()
        self._is_set = False

    def begin(self) -> asyncio.Task[object]:
        """The time of the running task begins; gives the task, for `end`."""
        task = asyncio.current_task()
        if task is None:
            message = "only a task has a deadline"
            raise RuntimeError(message)
        loop = asyncio.get_running_loop()
        self._due[task] = due = loop.time() + self.seconds
        if not self._is_set:
            self._is_set = True
            loop.call_at(due, self._ring, loop)
        return task

    def end(self, task: asyncio.Task[object]) -> None:
        """The task did what it had to, or failed to; if it was cancelled from here, that is taken back."""
        if self._due.pop(task, None) is None and task in self._late:
            self._late.remove(task)
            task.uncancel()

    def is_why(self, task: asyncio.Task[object]) -> bool:
        """Whether the cancellation that a task has just met came from here and from nobody else."""
        return task in self._late and task.cancelling() == 1

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        """Cancel what is due and wait for the next."""
        now = loop.time()
        for task, due in list(self._due.items()):
            if due > now:
                loop.call_at(due, self._ring, loop)
                return
            del self._due[task]
            self._late.add(task)
            task.cancel()
        self._is_set = False
