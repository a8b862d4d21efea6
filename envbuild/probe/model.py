"""What a probe finds, and what is good enough."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Final

__all__ = ["PHASES", "Report", "Start", "Thresholds"]

PHASES: Final = ("server", "kernel", "imports")


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The longest medians that are good enough, in seconds; None: whatever it is."""

    server: float | None = None
    kernel: float | None = None
    imports: float | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """One start, in seconds: until the ``server`` answered, and until a ``kernel`` said what ``1+1`` is, both
    since the container (or the pod) was asked for; and how long the ``imports`` took, None when there was
    nothing to import. ``broken`` are modules that could not be imported; ``pulled`` tells whether the node
    of a pod had to pull the image, None when that is not known.
    """

    server: float
    kernel: float
    imports: float | None = None
    broken: tuple[str, ...] = ()
    pulled: bool | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """All starts of one image."""

    starts: tuple[Start, ...]

    @property
    def medians(self) -> dict[str, float]:
        """The median of each phase that every start had, in seconds."""
        return {phase: statistics.median(values) for phase, values in self._values().items()}

    @property
    def worst(self) -> dict[str, float]:
        """The longest of each phase that every start had, in seconds."""
        return {phase: max(values) for phase, values in self._values().items()}

    @property
    def broken(self) -> tuple[str, ...]:
        """Modules that could not be imported, by name."""
        return tuple(sorted({module for start in self.starts for module in start.broken}))

    def exceeded(self, thresholds: Thresholds) -> list[str]:
        """The phases whose median is above what is good enough."""
        return [
            phase
            for phase, median in self.medians.items()
            if (bound := getattr(thresholds, phase)) is not None and median > bound
        ]

    def _values(self) -> dict[str, list[float]]:
        found = {phase: [getattr(start, phase) for start in self.starts] for phase in PHASES}
        return {phase: values for phase, values in found.items() if None not in values}
