"""Whose a container is, so that one whose envbuild was killed (kill -9) is removed by the next.

The daemon runs containers, not we: they outlive us. A label names the process that started the container;
the next envbuild on the same machine removes containers whose process is gone.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["labels", "reap"]

_LABEL = "dev.envbuild.session"


def labels() -> dict[str, str]:
    """The label for a container that this process starts; none where processes cannot be told apart."""
    started = _started(os.getpid())
    return {} if started is None else {_LABEL: f"{_place()} {os.getpid()} {started}"}


def reap(client: Any) -> None:
    """Remove the containers of processes that are gone."""
    from docker.errors import APIError

    for container in client.api.containers(all=True, filters={"label": _LABEL}):
        place, _, process = container["Labels"][_LABEL].rpartition(" ")[0].rpartition(" ")
        started = container["Labels"][_LABEL].rpartition(" ")[2]
        if place == _place() and process.isdecimal() and _started(int(process)) != started:
            with suppress(APIError):
                client.api.remove_container(container["Id"], force=True, v=True)


def _place() -> str:
    """This boot of this machine, and the PID namespace: where a process number means what it says."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _started(process: int) -> str | None:
    """When a process started, in clock ticks after boot; None when there is no such process."""
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return None
    return status.rpartition(")")[2].split()[19]
