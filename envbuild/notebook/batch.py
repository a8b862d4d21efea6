"""Doing the same for many things, some at once, until it is done or somebody stops it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
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
            while any(thread.is_alive() for thread in self._threads):
                if deadline is not None and time.monotonic() > deadline:
                    self._stop("total-timeout")
                self._threads_end(_LOOK_SECONDS)
        except KeyboardInterrupt:
            self._stop("interrupted")
            self._threads_end(None)
            raise
        if self._errors:
            raise self._errors[0]

    def _threads_end(self, seconds: float | None) -> None:
        for thread in self._threads:
            if thread.ident is None:
                continue  # an interrupt came before it was started
            thread.join(seconds)
            if seconds is not None and thread.is_alive():
                return

    def _stop(self, reason: Reason) -> None:
        if self.stopped is None:
            self.stopped = reason

    def _worker(self) -> None:
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
