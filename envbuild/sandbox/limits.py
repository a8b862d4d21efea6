"""Holding a step to its limits where no control group can be made, which takes root on most machines.

A thread looks at the processes several times a second, and ends them all when they use too much.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from envbuild.sandbox.model import Limits

__all__ = ["Guard", "memory_text", "on_cpus", "processes_text", "seconds_text"]

_INTERVAL_SECONDS = 0.1
_PAGE = os.sysconf("SC_PAGE_SIZE")


def memory_text(limits: Limits) -> str:
    """What :attr:`Outcome.exceeded` says about memory.

    >>> memory_text(Limits(memory=1_500_000_000))
    'more than 1.4 GiB of memory'
    """
    return f"more than {limits.memory / (1 << 30):.3g} GiB of memory"


def seconds_text(limits: Limits) -> str:
    """What :attr:`Outcome.exceeded` says about time.

    >>> seconds_text(Limits(seconds=90))
    'more than 90 seconds'
    """
    return f"more than {limits.seconds:g} seconds"


def processes_text(limits: Limits) -> str:
    """What :attr:`Outcome.exceeded` says about processes.

    >>> processes_text(Limits(processes=100))
    'more than 100 processes'
    """
    return f"more than {limits.processes} processes"


@contextmanager
def on_cpus(number: int | None) -> Iterator[None]:
    """What is started in the block runs on so many of this process's CPUs (None: on all of them)."""
    usual = os.sched_getaffinity(0)
    if number is None:
        yield
        return
    os.sched_setaffinity(0, sorted(usual)[: max(1, number)])
    try:
        yield
    finally:
        os.sched_setaffinity(0, usual)


class Guard:
    """Watches a process and all its descendants while the block runs.

    Parameters:
        process: its number; its orphans are its children (it is process 1 of a PID namespace).
        end: ends all of it; called at most once, from another thread.

    Attributes:
        exceeded: the limit for which it was ended, for people; None when it was not.
    """

    def __init__(self, process: int, limits: Limits, end: Callable[[], None]) -> None:
        self._process = process
        self._limits = limits
        self._end = end
        self._deadline = time.monotonic() + limits.seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="limits", daemon=True)
        self.exceeded: str | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(_INTERVAL_SECONDS):
            self.exceeded = self._trouble()
            if self.exceeded is not None:
                self._end()
                return

    def _trouble(self) -> str | None:
        if time.monotonic() > self._deadline:
            return seconds_text(self._limits)
        processes = _descendants(self._process, self._limits.processes + 1)
        if len(processes) > self._limits.processes:
            return processes_text(self._limits)
        # What processes share is in the resident size of each. Only when that is too much, ask for what it
        # really is: the kernel has to walk through the page tables for the answer.
        most = self._limits.memory
        if sum(map(_resident, processes)) > most and sum(map(_proportional, processes)) > most:
            return memory_text(self._limits)
        return None


def _descendants(process: int, most: int) -> list[int]:
    """The process and its descendants; of those that multiply faster than one can look, ``most``."""
    found: list[int] = []
    waiting = [process]
    while waiting and len(found) < most:
        number = waiting.pop()
        found.append(number)
        try:
            for task in Path(f"/proc/{number}/task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
        except OSError:  # it has ended
            continue
    return found


def _resident(process: int) -> int:
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def _proportional(process: int) -> int:
    """The memory of a process, of what it shares only its share (PSS), in bytes."""
    try:
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return _resident(process)
