"""Numbers by metric and labels: they add up over runs, and are kept as JSON in the cache."""

from __future__ import annotations

import json
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Any, Final

from envbuild.metrics.definitions import BUCKETS, METRICS

__all__ = ["MOST_SERIES", "Durations", "Totals"]

# Of one metric. What comes after is counted under "other": labels come from errors and from whoever probes.
MOST_SERIES: Final = 500
_OTHER: Final = "other"
_LONGEST_LABEL: Final = 200

Labels = tuple[str, ...]


@dataclass(slots=True)
class Durations:
    """Seconds that were measured: how many lie in each of :data:`BUCKETS` and above, and their sum."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    total: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one measurement."""
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.total += seconds


@dataclass(slots=True)
class Totals:
    """``values`` are of counters and gauges, ``durations`` of histograms; by metric and labels."""

    values: dict[str, dict[Labels, float]] = field(default_factory=dict)
    durations: dict[str, dict[Labels, Durations]] = field(default_factory=dict)

    def add(self, name: str, amount: float, *labels: str) -> None:
        """Let a counter grow."""
        series = self.values.setdefault(name, {})
        key = _key(name, labels, series)
        series[key] = series.get(key, 0) + amount

    def set(self, name: str, value: float, *labels: str) -> None:
        """Give a gauge its value."""
        series = self.values.setdefault(name, {})
        series[_key(name, labels, series)] = value

    def observe(self, name: str, seconds: float, *labels: str) -> None:
        """Count a measurement in a histogram."""
        series = self.durations.setdefault(name, {})
        series.setdefault(_key(name, labels, series), Durations()).add(seconds)

    def forget(self, name: str, *labels: str) -> None:
        """Drop the series of a gauge whose first labels are these."""
        series = self.values.get(name, {})
        for key in [key for key in series if key[: len(labels)] == labels]:
            del series[key]

    def dump(self) -> bytes:
        """As JSON, for :meth:`load`."""
        values = {
            name: [[*key, value] for key, value in found.items()] for name, found in self.values.items()
        }
        durations = {
            name: [[*key, one.counts, one.total] for key, one in found.items()]
            for name, found in self.durations.items()
        }
        return json.dumps({"buckets": BUCKETS, "values": values, "durations": durations}).encode()

    @classmethod
    def load(cls, data: bytes) -> Totals:
        """What :meth:`dump` wrote, less what this version does not know.

        Raises:
            ValueError: ``data`` is nothing of the kind.
        """
        try:
            return cls._load(json.loads(data))
        except (KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            raise ValueError("not what metrics are kept as") from error

    @classmethod
    def _load(cls, document: Any) -> Totals:
        totals = cls()
        for name, entries in document["values"].items():
            for *labels, value in entries if name in METRICS else ():
                totals.add(name, float(value), *labels)
        if document["buckets"] != list(BUCKETS):
            return totals
        for name, entries in document["durations"].items():
            for *labels, counts, total in entries if name in METRICS else ():
                if len(counts) != len(BUCKETS) + 1:
                    raise ValueError("not as many buckets as there are")
                series = totals.durations.setdefault(name, {})
                series[_key(name, tuple(labels), series)] = Durations(
                    [int(one) for one in counts], float(total)
                )
        return totals


def _key(name: str, labels: Labels, series: dict[Labels, Any]) -> Labels:
    if len(labels) != len(METRICS[name].labels) or not all(isinstance(label, str) for label in labels):
        raise ValueError(f"{name} does not have these labels")
    # The format is UTF-8, and what users name need not be.
    key = tuple(label[:_LONGEST_LABEL].encode("utf-8", "replace").decode() for label in labels)
    if key in series or len(series) < MOST_SERIES:
        return key
    return (_OTHER,) * len(labels)
