"""A bound on the number of processes that the kernel keeps.

The guard (:mod:`envbuild.sandbox.limits`) looks at a step several times a second, and in that time processes
can multiply until the machine has no room for another. The kernel's own bound is above the step's limit, so
that it is the guard that ends the step and names the limit.

For root it is a control group, if one can be made. For others it is ``RLIMIT_NPROC`` (getrlimit(2)), which
does not hold root. It counts whatever the user runs, outside of the sandbox, too: what runs already is added,
and room for what the user may start meanwhile.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from envbuild.sandbox.model import Limits

__all__ = ["bounded"]

# The hierarchy of the pids controller: that of version 1 where it is mounted, else the only one of version 2.
_HIERARCHIES = (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup"))
_JOIN = 'echo $$ > "$0" && exec "$@"'
# dash calls the option -p, bash -u.
_LIMIT = 'ulimit -S -p "$0" 2>/dev/null || ulimit -S -u "$0" 2>/dev/null; exec "$@"'
_ROOM = 1000
_ATTEMPTS = 50
_PAUSE_SECONDS = 0.02


@contextmanager
def bounded(tool: Sequence[str], limits: Limits) -> Iterator[tuple[str, ...]]:
    """How to start ``tool`` so that it has at most about twice the descendants that ``limits`` allow.

    Where the kernel offers no way, ``tool`` is given back as it is.
    """
    most = 2 * limits.processes
    if os.geteuid() != 0:
        yield ("/bin/sh", "-c", _LIMIT, str(most + _threads_of_the_user() + _ROOM), *tool)
        return
    group = _make_group(str(most))
    if group is None:
        yield tuple(tool)
        return
    try:
        yield ("/bin/sh", "-c", _JOIN, str(group / "cgroup.procs"), *tool)
    finally:
        _remove(group)


def _threads_of_the_user(processes: Path = Path("/proc")) -> int:
    """What the kernel counts for the limit, as far as we may see it."""
    found = 0
    for process in processes.iterdir():
        with suppress(OSError):  # it has ended
            if process.name.isdecimal() and process.stat().st_uid == os.geteuid():
                found += sum(1 for _ in (process / "task").iterdir())
    return found


def _make_group(most: str) -> Path | None:
    """A new control group with room for so many processes; None when none can be made here."""
    for hierarchy in _HIERARCHIES:
        group = hierarchy / f"envbuild-{os.getpid()}-{secrets.token_hex(4)}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / "pids.max").write_text(most)
        except OSError:  # the controller is elsewhere, or is not handed down
            group.rmdir()
            continue
        return group
    return None


def _remove(group: Path) -> None:
    """Remove the group as soon as its last process is gone, which the kernel needs a moment for."""
    for _ in range(_ATTEMPTS):
        with suppress(OSError):
            group.rmdir()
            return
        time.sleep(_PAUSE_SECONDS)
