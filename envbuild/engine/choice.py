"""Which engine to use, for running images and for steps of a build."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from envbuild.errors import MachineError

__all__ = ["choose"]


class _Named(Protocol):
    @property
    def name(self) -> str: ...

    def unavailable(self) -> str | None: ...


_Any = TypeVar("_Any", bound=_Named)


def choose(name: str, engines: Sequence[_Any]) -> _Any:
    """The engine called ``name``, or for ``auto`` the first of ``engines`` that works here.

    Parameters:
        engines: engines, or sandboxes over them.

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
