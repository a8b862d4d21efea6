"""Waiting for something that happens elsewhere: in another process, a daemon, a cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import psutil

__all__ = ["wait_for_end", "wait_until"]

_T = TypeVar("_T")


def wait_until(
    look: Callable[[], _T],
    *,
    seconds: float = 600,
    pause: float = 0.05,
    otherwise: Callable[[], object] = str,
) -> _T:
    """What ``look`` returns, once that is true.

    Parameters:
        seconds: how long to wait before the test fails.
        pause: seconds between looks.
        otherwise: what is shown with the failure.
    """
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain: {otherwise()}"
        time.sleep(pause)
    return found


def wait_for_end(processes: Sequence[psutil.Process]) -> None:
    """Wait until all of ``processes`` have ended; one that nobody has asked for its exit code has, too."""
    wait_until(
        lambda: not any(map(_lives, processes)), otherwise=lambda: [one for one in processes if _lives(one)]
    )


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
