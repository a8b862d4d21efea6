"""Doing the same for many things, some at once, until it is done or somebody stops it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Generic, Literal, TypeVar

__all__ = ["Batch", "Reason"]

Reason = Literal["interrupted", "total-timeout", "failed"]
"""Why all of it ends early: Ctrl-C, the time is over, or one of them raised an error."""

_Outcome = TypeVar("_Outcome")
_LOOK_SECONDS = 0.1


class Batch(Generic[_Outcome]):
    """``count`` pieces of work, ``jobs`` of them at once, begun in order.

    Parameters:
        work: does the piece of that number, in a thread of its own. It looks at :attr:`stopped` now and then.
        last: whether no other piece is begun after one with this outcome.
        seconds: how long all of it may take; None: as long as it wants.

    Attributes:
        stopped: why everything is to end; None while it is not.
        outcomes: by number, of the pieces that came to an end.
    """

    def __init__(
        self,
        work: Callable[[int], _Outcome],
        count: int,
        *,
        jobs: int = 1,
        last: Callable[[_Outcome], bool] = lambda outcome: False,
        seconds: float | None = None,
    ) -> None:
        self.stopped: Reason | None = None
        self.outcomes: dict[int, _Outcome] = {}
        self._work = work
        self._waiting = deque(range(count))
        self._last = last
        self._seconds = seconds
        self._errors: list[BaseException] = []
        # Tells of workers that have ended. Thread.join() does not do: interrupted, it takes a thread for dead
        # that is not (Python 3.11).
        self._ended: SimpleQueue[None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._worker, name=f"worker-{number}", daemon=True)
            for number in range(min(jobs, count))
        ]

    def run(self) -> None:
        """Do all of it.

        Raises:
            BaseException: what the first piece raised that raised anything, when the others have ended.
            KeyboardInterrupt: the same, of this thread.
        """
        deadline = None if self._seconds is None else time.monotonic() + self._seconds
        try:
            for thread in self._threads:
                thread.start()
            while self._is_running():
                if deadline is not None and time.monotonic() > deadline:
                    self._stop("total-timeout")
        except KeyboardInterrupt:
            self._stop("interrupted")
            while self._is_running():
                pass
            raise
        if self._errors:
            raise self._errors[0]

    def _is_running(self) -> bool:
        """Whether a worker is, after a moment in which it may end."""
        with suppress(Empty):
            self._ended.get(timeout=_LOOK_SECONDS)
        return any(thread.is_alive() for thread in self._threads)

    def _stop(self, reason: Reason) -> None:
        if self.stopped is None:
            self.stopped = reason

    def _worker(self) -> None:
        try:
            self._work_on()
        finally:
            self._ended.put(None)

    def _work_on(self) -> None:
        while self.stopped is None:
            try:
                number = self._waiting.popleft()
            except IndexError:
                return
            try:
                outcome = self._work(number)
            except BaseException as error:
                self._errors.append(error)
                self._stop("failed")
                return
            self.outcomes[number] = outcome
            if self._last(outcome):
                self._waiting.clear()
