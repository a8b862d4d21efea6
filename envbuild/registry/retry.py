"""Trying again: what may pass by itself, how long to wait, and when to give up."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from envbuild.errors import RemoteError

__all__ = ["TRANSIENT", "Pace", "Patience", "Retries", "Transient", "retry_after"]

# What servers answer when they are busy or restarting; 499, 520-524 come from proxies in front of them.
TRANSIENT = frozenset({408, 425, 429, 499, 500, 502, 503, 504, 520, 521, 522, 523, 524})
_PACE_SECONDS = 60.0
_PACE_BYTES = 64 << 10  # in that time
Result = TypeVar("Result")
_ENOUGH_PROGRESS = 1 << 20  # bytes; with less than this between two failures, nothing is getting better


class Transient(Exception):
    """Trying again may help. ``error`` is what to raise when it did not; ``pause`` what the server asks for
    (seconds).
    """

    def __init__(self, error: RemoteError, pause: float | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.pause = pause


@dataclass(frozen=True, slots=True)
class Retries:
    """How often and at which pace (seconds) one piece of work is tried.

    ``first_pause`` is doubled after every failure, up to ``longest_pause``; half of each pause is chance, so
    that many clients do not come back at once. A server that asks for more than ``longest_wait`` is not
    waited for.
    """

    attempts: int = 5
    first_pause: float = 0.5
    longest_pause: float = 20.0
    longest_wait: float = 90.0

    def pause(self, failures: int) -> float:
        """How long to wait after so many failures in a row."""
        longest = min(self.first_pause * 2 ** (failures - 1), self.longest_pause)
        return float(longest * random.uniform(0.5, 1.0))


class Patience:
    """How much one piece of work (a request, a whole blob) may still fail. It is never nested.

    Parameters:
        stop: set when nobody waits for the work any more.
    """

    def __init__(self, retries: Retries, stop: threading.Event) -> None:
        self._retries = retries
        self._stop = stop
        self._failures = 0
        self._progress = 0

    def wait(self, trouble: Transient) -> None:
        """Pause before another try.

        Raises:
            RemoteError: it is enough.
            CancelledError: nobody waits any more.
        """
        self._failures += 1
        self._progress = 0
        pause = self._retries.pause(self._failures) if trouble.pause is None else trouble.pause
        if self._failures >= self._retries.attempts or pause > self._retries.longest_wait:
            raise trouble.error from trouble
        if self._stop.wait(pause):
            raise CancelledError

    def advance(self, amount: int) -> None:
        """So many bytes went well. Large blobs may break often, as long as they get on in between."""
        self._progress += amount
        if self._progress >= _ENOUGH_PROGRESS:
            self._failures = 0

    def through(self, work: Callable[[], Result]) -> Result:
        """What ``work`` returns, tried again while it raises :class:`Transient`."""
        while True:
            try:
                return work()
            except Transient as trouble:
                self.wait(trouble)


class Pace:
    """Notices that a server sends next to nothing, though never nothing for long.

    Parameters:
        clock: seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = clock()
        self._amount = 0

    def keeps(self, amount: int) -> bool:
        """Whether, with so many more bytes, it is still worth waiting."""
        self._amount += amount
        now = self._clock()
        if now - self._since < _PACE_SECONDS:
            return True
        enough = self._amount >= _PACE_BYTES
        self._since, self._amount = now, 0
        return enough


def retry_after(value: str | None, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> float | None:
    """The seconds that a ``Retry-After`` header (RFC 9110, 10.2.3) asks for; None when it says nothing.

    >>> retry_after("7"), retry_after("soon")
    (7.0, None)
    """
    text = (value or "").strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max((moment - now()).total_seconds(), 0.0)
