"""Advisory locks, on file systems that have them.

The kernel releases a lock however its holder ends. Some network file systems have no locks, or pretend: there
everything goes on without, and work may be done twice. Nothing is correct only because of a lock.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

__all__ = ["is_alone", "open_lock", "wait_for"]

# A lock that is held longer than any work takes is that of a stopped process, or of another machine that is
# gone.
_PATIENCE = 1800.0
_LONGEST_PAUSE = 0.2


def open_lock(path: Path) -> int:
    """A descriptor of the lock file ``path``, which is made when it is not there.

    Raises:
        OSError: it cannot be made.
    """
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except PermissionError:
        # Another user's: to read is enough. (With O_CREAT, kernels refuse some of those, too.)
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def wait_for(handle: int, *, shared: bool = False, patience: float = _PATIENCE) -> bool:
    """Take the lock, waiting while others have it; False without locks, or after ``patience`` seconds."""
    start, pause = time.monotonic(), 0.005
    while (taken := _try(handle, shared=shared)) is False:
        if time.monotonic() - start > patience:
            return False
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
    return bool(taken)


def is_alone(handle: int, path: Path) -> bool:
    """Take the lock if nobody else has it, and tell whether that is so; never where locks only pretend.

    Nor when ``path`` is gone or another file by now: somebody has deleted the cache, and others may have made
    it anew and use it.
    """
    if not _try(handle):
        return False
    try:
        other = open_lock(path)
    except FileNotFoundError:
        return False
    try:
        return os.path.samestat(os.fstat(handle), os.fstat(other)) and _try(other) is False
    finally:
        os.close(other)


def _try(handle: int, *, shared: bool = False) -> bool | None:
    """Whether the lock was taken; False when somebody has it, None when there are no locks here."""
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
