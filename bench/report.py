"""The tables of docs/benchmarks.md."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from statistics import median

__all__ = ["Measurements", "print_report", "shown"]

Measurements = dict[str, list[float]]

# What is measured, in the order of the table, and the unit it is shown in.
_SECONDS, _MEGABYTES = ("s", 1.0), ("MB", 1e6)
_ROWS = {
    "cold: repository → image": _SECONDS,
    "cold: repository → registry": _SECONDS,
    "cold: pushed": _MEGABYTES,
    "downloads cached: repository → image": _SECONDS,
    "nothing changed": _SECONDS,
    "one package changed → image": _SECONDS,
    "one package changed → registry": _SECONDS,
    "one package changed: pushed": _MEGABYTES,
    "image, unpacked": _MEGABYTES,
    "image and base in the registry": _MEGABYTES,
    "first kernel reply, cold page cache": _SECONDS,
    "peak memory, largest process": _MEGABYTES,
    "peak memory, all processes": _MEGABYTES,
    "first: push": _SECONDS,
    "first: pushed": _MEGABYTES,
    "nothing changed: push": _SECONDS,
    "one package changed: push": _SECONDS,
    "first: Docker pulls": _SECONDS,
    "first: pulled by Docker": _MEGABYTES,
    "first: containerd pulls": _SECONDS,
    "first: pulled by containerd": _MEGABYTES,
    "one package changed: Docker pulls": _SECONDS,
    "one package changed: pulled by Docker": _MEGABYTES,
    "one package changed: containerd pulls": _SECONDS,
    "one package changed: pulled by containerd": _MEGABYTES,
    "first push: peak memory, largest process": _MEGABYTES,
    "first push: peak memory, all processes": _MEGABYTES,
}


def print_report(
    results: dict[str, Measurements], *, rounds: int, pins: int, docker: str, load: float
) -> None:
    """Two Markdown tables: medians with ratios, and every single measurement."""
    names = list(results)
    peers = names[1:]
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} CPUs, {platform.machine()}, "
        f"load before the start {load:.2f}; {pins} pins; Docker {docker}; medians of {rounds}.\n"
    )
    print(f"| | {' | '.join(names)} | {' | '.join(f'{peer} ÷ envbuild' for peer in peers)} |")
    print("|---|" + "---:|" * (len(names) + len(peers)))
    rows = [key for key in _ROWS if any(key in measured for measured in results.values())]
    for key in rows:
        middle = {name: median(results[name][key]) for name in names if results[name].get(key)}
        ratios = [f"{middle[peer] / middle[names[0]]:.1f}×" for peer in peers if middle.get(names[0])]
        print(f"| {key} | {' | '.join([shown(key, middle[name]) for name in names] + ratios)} |")
    print(f"\n| each round | {' | '.join(names)} |")
    print("|---|" + "---:|" * len(names))
    for key in rows:
        cells = [" · ".join(shown(key, value) for value in results[name].get(key, [])) for name in names]
        print(f"| {key} | {' | '.join(cells)} |")


def shown(key: str, value: float) -> str:
    """A measurement with its unit."""
    unit, divisor = _ROWS[key]
    number = value / divisor
    return f"{number:,.0f} {unit}" if number >= 100 else f"{number:.2f} {unit}"
