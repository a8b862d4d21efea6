"""Whether this machine ran out of memory, for engines that do not say whose process that was."""

from __future__ import annotations

from pathlib import Path

__all__ = ["killed_for_memory"]


def killed_for_memory() -> int:
    """How many processes were killed for lack of memory since this machine started; 0 if nobody knows."""
    try:
        counters = Path("/proc/vmstat").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in counters.splitlines() if line.startswith("oom_kill ")), 0)
