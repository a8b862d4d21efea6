"""Which engine to use."""

from __future__ import annotations

from collections.abc import Sequence

from envbuild.engine.model import Engine
from envbuild.errors import MachineError

__all__ = ["choose"]


def choose(name: str, engines: Sequence[Engine]) -> Engine:
    """The engine called ``name``, or for ``auto`` the first of ``engines`` that works here.

    Raises:
        MachineError: it does not work, or none does; with every engine's reason and remedy.
    """
    candidates = [engine for engine in engines if name in ("auto", engine.name)]
    reasons = []
    for engine in candidates:
        reason = engine.unavailable()
        if reason is None:
            return engine
        reasons.append(f"{engine.name}: {reason}")
    what = "no engine works" if name == "auto" else f"the engine {name} does not work"
    raise MachineError(
        f"{what} on this machine: {'. '.join(reasons)}",
        code="no-engine",
        remedy="make one of them work; `envbuild doctor` checks again",
    )
